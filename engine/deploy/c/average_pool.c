/* The means of windows. */
static void average_pool(const struct layer *l, const value *x, value *y)
{
    const struct window *k = &l->window;
    for (int i = 0; i < l->out.height; i++)
        for (int j = 0; j < l->out.width; j++)
            for (int m = 0; m < l->out.channels; m++) {
                const int top = i * k->down - k->top, left = j * k->right - k->left;
                const int u0 = first_of(top), u1 = last_of(top, k->height, l->in.height);
                const int v0 = first_of(left), v1 = last_of(left, k->width, l->in.width);
                const int inside = (u1 - u0) * (v1 - v0);
                total sum = 0;
                for (int u = u0; u < u1; u++)
                    for (int v = v0; v < v1; v++)
                        sum += x[((top + u) * l->in.width + left + v) * l->in.channels + m];
                if (l->counts_padding)
                    sum += ZERO(l) * (total)(k->height * k->width - inside);
                *y++ = mean(sum, l->counts_padding ? k->height * k->width : inside);
            }
}
