/* What a pooling behind a convolution makes of the next sum: the largest sum, or the sum of all. */
static total pool(const struct layer *l, total pooled, total sum)
{
    const total least = l->takes_largest ? pooled : l->least;
    const total kept = sum < least ? least : sum;
    return l->takes_largest ? kept : pooled + kept;
}
