/* The sums of some maps from m on of a convolution at one place: beyond the edges there is nothing to add. */
static void conv_at(const struct layer *l, const value *x, int i, int j, int group, int m, int maps, total *sums)
{
    const struct window *k = &l->window;
    const int top = i * k->down - k->top, left = j * k->right - k->left;
    const int u = first_of(top), v = first_of(left);
    const int width = last_of(left, k->width, l->in.width) - v, channels = l->group_channels;
    const weight *w = l->weights + ((m * k->height + u) * k->width + v) * channels;
    /* With one group, the columns of a row lie side by side. */
    const int side = channels == l->in.channels ? width : 1;
    const struct rows rows = {
        last_of(top, k->height, l->in.height) - u, side * channels,
        l->in.width * l->in.channels, k->width * channels
    };
    x += ((top + u) * l->in.width + left + v) * l->in.channels + group * channels;
    for (int map = 0; map < maps; map++)
        sums[map] = l->biases[m + map];
    for (int column = 0; column < width; column += side)
        dot(ZERO(l), &rows, x + column * l->in.channels, w + column * channels, l->map_weights, maps, sums);
}

/* A convolution with its activation, and the pooling behind it, if any. */
static void conv(const struct layer *l, const value *x, value *y)
{
    const struct window *p = &l->pool;
    for (int i = 0; i < l->out.height; i++)
        for (int j = 0; j < l->out.width; j++)
            for (int group = 0, end = 0, m = 0; m < l->out.channels; group++)
                for (end += l->group_maps; m < end;) {
                    const int maps = together(end - m);
                    total sums[4] = {0, 0, 0, 0}, pooled[4];
                    for (int n = 0; n < maps; n++)
                        pooled[n] = l->takes_largest ? LEAST : 0;
                    for (int u = 0; u < p->height; u++)
                        for (int v = 0; v < p->width; v++) {
                            conv_at(l, x, i * p->down + u, j * p->right + v, group, m, maps, sums);
                            for (int n = 0; n < maps; n++)
                                pooled[n] = pool(l, pooled[n], sums[n]);
                        }
                    for (int n = 0; n < maps; n++, m++)
                        *y++ = (value)finish(l, m, pooled[n]);
                }
}
