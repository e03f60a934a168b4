/* The sums of 4 maps from m on, or of 1, of a convolution at one place: beyond the edges there is nothing to add. */
static void conv_at(const struct layer *l, const value *x, int i, int j, int m, int maps, total *sums)
{
    const struct window *k = &l->window;
    const int top = i * k->down - k->top, left = j * k->right - k->left;
    const int u0 = first_of(top), u1 = last_of(top, k->height, l->in.height);
    const int v0 = first_of(left), v1 = last_of(left, k->width, l->in.width);
    const int channels = l->in.channels / l->groups, group = m / (l->out.channels / l->groups);
    const int columns = l->groups == 1 ? v1 - v0 : 1; /* with one group, those of a row lie side by side */
    for (int n = 0; n < maps; n++)
        sums[n] = l->biases[m + n];
    for (int u = u0; u < u1; u++)
        for (int v = v0; v < v1; v += columns)
            dot(ZERO(l), maps, x + ((top + u) * l->in.width + left + v) * l->in.channels + group * channels,
                l->weights + ((m * k->height + u) * k->width + v) * channels,
                k->height * k->width * channels, columns * channels, sums);
}

/* A convolution with its activation, and the pooling behind it, if any. */
static void conv(const struct layer *l, const value *x, value *y)
{
    const struct window *p = &l->pool;
    const int each = l->out.channels / l->groups;
    for (int i = 0; i < l->out.height; i++)
        for (int j = 0; j < l->out.width; j++)
            for (int m = 0, maps; m < l->out.channels; m += maps, y += maps) {
                total sums[4], pooled[4];
                maps = m % each + 4 <= each ? 4 : 1;
                for (int n = 0; n < maps; n++)
                    pooled[n] = l->takes_largest ? LEAST : 0;
                for (int u = 0; u < p->height; u++)
                    for (int v = 0; v < p->width; v++) {
                        conv_at(l, x, i * p->down + u, j * p->right + v, m, maps, sums);
                        for (int n = 0; n < maps; n++)
                            pooled[n] = pool(l, pooled[n], sums[n]);
                    }
                for (int n = 0; n < maps; n++)
                    y[n] = (value)finish(l, m + n, pooled[n]);
            }
}
