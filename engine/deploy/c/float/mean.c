static value mean(total sum, int count)
{
    return sum / (float)count;
}
