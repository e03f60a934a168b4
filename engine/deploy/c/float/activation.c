/* y = @equation@ */
static void @function@(const struct layer *l, const value *values, value *y)
{
    const int size = l->out.height * l->out.width * l->out.channels;
    for (int k = 0; k < size; k++) {
        const float x = values[k];
        y[k] = @expression@;
    }
}
