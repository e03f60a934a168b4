/* A dense layer with its activation. */
static void dense(const struct layer *l, const value *x, value *y)
{
    const struct rows row = {1, l->in.height * l->in.width * l->in.channels, 0, 0};
    for (int m = 0; m < l->out.channels;) {
        const int maps = together(l->out.channels - m);
        total sums[4] = {0, 0, 0, 0};
        for (int n = 0; n < maps; n++)
            sums[n] = l->biases[m + n];
        dot(ZERO(l), &row, x, l->weights + m * row.n, row.n, maps, sums);
        for (int n = 0; n < maps; n++, m++)
            y[m] = (value)finish(l, m, sums[n]);
    }
}
