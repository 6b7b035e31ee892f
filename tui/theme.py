"""Three themes: two calm ones, dark and light, and one of high contrast.

Beside Textual's own colours: `quiet` (secondary text), `track` (lines behind bars), `row` and
`cursor` (the selection without and with the keyboard).
"""

from textual.theme import Theme

DARK = Theme(
    name="haman-dark",
    dark=True,
    primary="#7aa2d6",
    secondary="#8fa3b8",
    accent="#7aa2d6",
    success="#7fb785",
    warning="#d9b45f",
    error="#e07a73",
    foreground="#c6ced8",
    background="#111519",
    surface="#151a1f",
    panel="#1d242b",
    variables={
        "quiet": "#7d8894",
        "track": "#38424d",
        "row": "#1d252d",
        "cursor": "#2b3f57",
        "border-blurred": "#2c353e",
        "footer-background": "#151a1f",
        "footer-key-foreground": "#7aa2d6",
        "footer-description-foreground": "#98a3af",
    },
)

LIGHT = Theme(
    name="haman-light",
    dark=False,
    primary="#2f5f9e",
    secondary="#5b6b7c",
    accent="#2f5f9e",
    success="#2d7a3e",
    warning="#8f6200",
    error="#b83a34",
    foreground="#2b3138",
    background="#fbfaf7",
    surface="#f4f2ed",
    panel="#ece9e2",
    variables={
        "quiet": "#6d7680",
        "track": "#c9c7c0",
        "row": "#efece5",
        "cursor": "#d3e0f0",
        "border-blurred": "#d9d6ce",
        "footer-background": "#f4f2ed",
        "footer-key-foreground": "#2f5f9e",
        "footer-description-foreground": "#5c6670",
    },
)

CONTRAST = Theme(
    name="haman-contrast",
    dark=True,
    primary="#6fd3ff",
    secondary="#ffffff",
    accent="#6fd3ff",
    success="#5dff5d",
    warning="#ffff3c",
    error="#ff8c8c",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1c1c1c",
    variables={
        "quiet": "#d0d0d0",
        "track": "#8a8a8a",
        "row": "#303030",
        "cursor": "#00408a",
        "border-blurred": "#b0b0b0",
        "footer-background": "#1c1c1c",
        "footer-key-foreground": "#6fd3ff",
        "footer-description-foreground": "#ffffff",
    },
)

THEMES = (DARK, LIGHT, CONTRAST)
