/* Values and weights of a map lie in rows of n; from row to row it is so many values and weights. */
struct rows { int count, n, values, weights; };

/* Add to sums the products of values and weights of 4 maps, whose weights lie `map` apart: each value serves all.
   `zero` stands for 0 among the values. */
static void dot4(total zero, const struct rows *rows, const value *x, const weight *w, int map, total *sums)
{
    total a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (int row = rows->count; row > 0; row--, x += rows->values, w += rows->weights) {
        const value *from = x;
        const weight *p = w, *q = p + map, *r = q + map, *s = r + map;
        for (int n = rows->n; n > 0; n--) {
            const total v = *from++ - zero;
            a += v * *p++;
            b += v * *q++;
            c += v * *r++;
            d += v * *s++;
        }
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

/* The same of 2 maps, or of 1, which then comes twice. */
static void dot2(total zero, const struct rows *rows, const value *x, const weight *w, int map, total *sums)
{
    total a = sums[0], b = sums[1];
    for (int row = rows->count; row > 0; row--, x += rows->values, w += rows->weights) {
        const value *from = x;
        const weight *p = w, *q = p + map;
        for (int n = rows->n; n > 0; n--) {
            const total v = *from++ - zero;
            a += v * *p++;
            b += v * *q++;
        }
    }
    sums[0] = a;
    sums[1] = b;
}

static void dot(total zero, const struct rows *rows, const value *x, const weight *w, int map, int maps, total *sums)
{
    if (maps == 4)
        dot4(zero, rows, x, w, map, sums);
    else
        dot2(zero, rows, x, w, maps == 2 ? map : 0, sums);
}

/* How many maps are computed together where so many are left. */
static int together(int left)
{
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}
