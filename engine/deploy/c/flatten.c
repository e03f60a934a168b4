/* Maps as one row of numbers, map by map. */
static void flatten(const struct layer *l, const value *x, value *y)
{
    const int pixels = l->in.height * l->in.width;
    for (int m = 0; m < l->in.channels; m++)
        for (int k = 0; k < pixels; k++)
            *y++ = x[k * l->in.channels + m];
}
