/* What a pooling behind a convolution makes of the next sum: the largest sum, or the sum of all. */
static total pool(const struct layer *l, total pooled, total sum)
{
    if (l->takes_largest)
        return sum > pooled ? sum : pooled;
    return pooled + (l->rectifies && sum < 0 ? 0 : sum);
}
