"""One file per topic: a table of figures, and beside it the chart that is drawn over it.

Most charts are Vega-Lite specs made with Altair, without data: `st.vega_lite_chart(table, spec)`. Live views draw
more than once a second, and making a spec takes 30 to 60 ms where drawing a finished one takes 1 to 5 ms, so specs are
made once and cached. Titles of classes and runs come from outside: as values of the table they are only drawn as text.
"""
