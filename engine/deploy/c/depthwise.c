/* One sum of a depthwise convolution: map m has its own window on one channel. */
static total depthwise_at(const struct layer *l, const value *x, int i, int j, int m)
{
    const struct window *k = &l->window;
    const int top = i * k->down - k->top, left = j * k->right - k->left;
    const int u1 = last_of(top, k->height, l->in.height), v1 = last_of(left, k->width, l->in.width);
    const int channel = m / (l->out.channels / l->in.channels);
    total sum = l->biases[m];
    for (int u = first_of(top); u < u1; u++)
        for (int v = first_of(left); v < v1; v++)
            sum += (x[((top + u) * l->in.width + left + v) * l->in.channels + channel] - ZERO(l))
                   * l->weights[(u * k->width + v) * l->out.channels + m];
    return sum;
}

/* A depthwise convolution with its activation, and the pooling behind it, if any. */
static void depthwise(const struct layer *l, const value *x, value *y)
{
    const struct window *p = &l->pool;
    for (int i = 0; i < l->out.height; i++)
        for (int j = 0; j < l->out.width; j++)
            for (int m = 0; m < l->out.channels; m++) {
                total pooled = l->takes_largest ? LEAST : 0;
                for (int u = 0; u < p->height; u++)
                    for (int v = 0; v < p->width; v++)
                        pooled = pool(l, pooled, depthwise_at(l, x, i * p->down + u, j * p->right + v, m));
                *y++ = (value)finish(l, m, pooled);
            }
}
