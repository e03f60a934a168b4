/* A dense layer with its activation. */
static void dense(const struct layer *l, const value *x, value *y)
{
    const int inputs = l->in.height * l->in.width * l->in.channels;
    for (int m = 0, maps; m < l->out.channels; m += maps) {
        total sums[4];
        maps = m + 4 <= l->out.channels ? 4 : 1;
        for (int n = 0; n < maps; n++)
            sums[n] = l->biases[m + n];
        dot(ZERO(l), maps, x, l->weights + m * inputs, inputs, inputs, sums);
        for (int n = 0; n < maps; n++)
            y[m + n] = (value)finish(l, m + n, sums[n]);
    }
}
