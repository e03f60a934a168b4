/* The outputs as numbers. */
static void answer(const value *x, float *y)
{
    for (int k = 0; k < @outputs@; k++)
        y[k] = (float)(x[k] - @zero@) * @scale@;
}
