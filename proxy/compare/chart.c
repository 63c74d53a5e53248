#include "proxy/compare/chart.h"

/* Measures of the drawing; the page scales it to its width. */
enum { LEFT = 104, WIDTH = 720, RIGHT = 160, TOP = 6, ROW = 40, BAR = 20, AXIS = 24 };

static double x_of(const struct chart *chart, double us)
{
    return LEFT + us / chart->most * WIDTH;
}

static double y_of(const struct chart *chart)
{
    return TOP + (double)(chart->row - 1) * ROW + (double)(ROW - BAR) / 2;
}

/* A round number of which the width takes three to eight. */
static double step_of(double most)
{
    double step = 1;

    while (step * 10 <= most)
        step *= 10;
    if (most / step < 1.5)
        return step / 5;
    return most / step < 3 ? step / 2 : most / step < 6 ? step : step * 2;
}

static void append_tick(struct buffer *out, double at)
{
    if (at >= 1e6)
        buffer_format(out, "%.4gs", at / 1e6);
    else if (at >= 1e3)
        buffer_format(out, "%.4gms", at / 1e3);
    else
        buffer_format(out, at > 0 ? "%.4gus" : "0", at);
}

void chart_begin(struct chart *chart, struct buffer *out, const char *title, size_t rows,
                 double most)
{
    const int height = TOP + (int)rows * ROW;
    double step;

    *chart = (struct chart){.out = out, .most = most > 0 ? most : 1};
    step = step_of(chart->most);
    buffer_format(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n",
                  LEFT + WIDTH + RIGHT, height + AXIS, title);
    for (double at = 0; at <= chart->most; at += step) {
        const double x = x_of(chart, at);

        buffer_format(out,
                      "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
                      "<text class=\"tick\" x=\"%.1f\" y=\"%d\">",
                      x, TOP, x, height, x, height + 16);
        append_tick(out, at);
        buffer_text(out, "</text>\n");
    }
}

void chart_end(struct chart *chart)
{
    buffer_text(chart->out, "</svg>\n");
}

void chart_row(struct chart *chart, const char *label)
{
    chart->row++;
    buffer_format(chart->out, "<text class=\"label\" x=\"%d\" y=\"%.1f\">%s</text>\n", LEFT - 10,
                  y_of(chart) + BAR - 5.5, label);
}

void chart_bar(struct chart *chart, double from, double to, const char *kind)
{
    buffer_format(chart->out,
                  "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n", kind,
                  x_of(chart, from), y_of(chart), x_of(chart, to) - x_of(chart, from), BAR);
}

void chart_spread(struct chart *chart, double least, double most)
{
    const double y = y_of(chart) + (double)BAR / 2;

    buffer_format(chart->out, "<path class=\"spread\" d=\"M%.1f %.1fv8m0 -4H%.1fm0 -4v8\"/>\n",
                  x_of(chart, least), y - 4, x_of(chart, most));
}

void chart_point(struct chart *chart, double at)
{
    buffer_format(chart->out, "<circle class=\"point\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"/>\n",
                  x_of(chart, at), y_of(chart) + (double)BAR / 2);
}

void chart_words(struct chart *chart, double behind, const char *words)
{
    buffer_format(chart->out, "<text class=\"value\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                  x_of(chart, behind) + 9, y_of(chart) + BAR - 5.5, words);
}

void chart_missing(struct chart *chart, const char *words)
{
    buffer_format(chart->out, "<text class=\"missing\" x=\"%d\" y=\"%.1f\">%s</text>\n", LEFT + 6,
                  y_of(chart) + BAR - 5.5, words);
}
