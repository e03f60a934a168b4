/* The largest values of windows. */
static void max_pool(const struct layer *l, const value *x, value *y)
{
    const struct window *k = &l->window;
    for (int i = 0; i < l->out.height; i++)
        for (int j = 0; j < l->out.width; j++)
            for (int m = 0; m < l->out.channels; m++) {
                const int top = i * k->down - k->top, left = j * k->right - k->left;
                const int u1 = last_of(top, k->height, l->in.height), v1 = last_of(left, k->width, l->in.width);
                value largest = LOWEST;
                for (int u = first_of(top); u < u1; u++)
                    for (int v = first_of(left); v < v1; v++) {
                        const value one = x[((top + u) * l->in.width + left + v) * l->in.channels + m];
                        largest = one > largest ? one : largest;
                    }
                *y++ = largest;
            }
}
