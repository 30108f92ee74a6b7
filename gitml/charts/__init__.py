"""Charts: lines over versions, runs or steps, as text, as pictures and as Vega-Lite."""
