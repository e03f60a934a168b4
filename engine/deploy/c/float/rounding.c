static float limited(const struct layer *l, float y)
{
    const float above = y < l->low ? l->low : y;
    return above > l->high ? l->high : above;
}
