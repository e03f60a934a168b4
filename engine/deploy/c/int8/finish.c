/* The same, but rounded once, halves up. */
static int32_t scaled_once(int32_t sum, int32_t multiplier, int shift)
{
    return (int32_t)(((int64_t)sum * multiplier + (INT64_C(1) << (30 - shift))) >> (31 - shift));
}

/* The output of map m for a sum. */
static total finish(const struct layer *l, int m, total sum)
{
    const int32_t multiplier = l->multipliers[m];
    const int shift = l->shifts[m];
    return limited(l, l->rounds_once ? scaled_once(sum, multiplier, shift) : scaled(sum, multiplier, shift));
}
