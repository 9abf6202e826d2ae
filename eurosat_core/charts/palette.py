"""The colours of all charts: apart for colour-blind readers, at least 3:1 on the light and on the dark ground.

What tells two things apart by colour has a shape, a dash or a word, too. The colours of the classes are
`data.classes.colours_for`.
"""

BLUE, ORANGE, GREY = "#2A8CD6", "#DB7B0B", "#8A8F98"
SERIES = (BLUE, ORANGE, "#2F9E8F", "#B5559F", "#8F8F2E", "#CC6677", "#7A8490", "#6C74D6")
"""For runs, settings and devices, in their order."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
"""The shapes that go with `SERIES`."""
GREEN, PINK, PURPLE, BROWN = "#1E9E77", "#C2609A", "#8E74D0", "#A6761D"
"""With blue and orange the parts of a step: dark words on them are readable."""
INK = "#0B1215"
"""Words on colours."""
