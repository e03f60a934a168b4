/* The sum of two tensors with its activation: both are brought to one scale, 2^20 times as fine. */
static void add(const struct layer *l, const value *a, const value *b, value *y)
{
    const int size = l->out.height * l->out.width * l->out.channels;
    for (int k = 0; k < size; k++) {
        const int32_t first = scaled((a[k] - l->zero) * (1 << 20), l->multipliers[0], l->shifts[0]);
        const int32_t second = scaled((b[k] - l->other_zero) * (1 << 20), l->multipliers[1], l->shifts[1]);
        y[k] = (value)limited(l, scaled(first + second, l->multipliers[2], l->shifts[2]));
    }
}
