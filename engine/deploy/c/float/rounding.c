static float limited(const struct layer *l, float y)
{
    return y < l->low ? l->low : y > l->high ? l->high : y;
}
