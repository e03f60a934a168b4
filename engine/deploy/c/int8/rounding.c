/* sum * multiplier * 2^(shift - 31), rounded as TensorFlow Lite does: first to multiples of 2^right, then halves away
   from zero. Right shifts of negative numbers must keep the sign, as they do on every compiler of today. */
static int32_t scaled(int32_t sum, int32_t multiplier, int shift)
{
    const int left = shift > 0 ? shift : 0, right = left - shift;
    const int32_t high = (int32_t)(((int64_t)(sum * (1 << left)) * multiplier + (1 << 30)) >> 31);
    const int32_t mask = (int32_t)((UINT32_C(1) << right) - 1);
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

static int32_t limited(const struct layer *l, int32_t y)
{
    y += l->out_zero;
    return y < l->low ? l->low : y > l->high ? l->high : y;
}
