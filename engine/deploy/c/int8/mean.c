/* Halves are rounded away from zero. */
static value mean(total sum, int count)
{
    const int half = count / 2;
    return (value)(count == 1 ? sum : (sum > 0 ? sum + half : sum - half) / count);
}
