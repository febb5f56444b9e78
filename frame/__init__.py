"""The frame around the tabs: one page, its look, and what every tab's handlers have in common; it knows no tab."""
