"""Evaluate as `app.py` has it, beside a tab that is empty: `python -m tests.evaluate.evaluate_page`."""

import os

from app import open_models
from diagnose.catalogue import Catalogue
from evaluate.tab.page import evaluate_tab
from gazevlm_core.quiet import quiet_libraries
from tests.diagnose.talking_page import nothing
from web.page import Tab, build_page, launch_options
from web.settings import Settings


def main() -> None:
    """Serve the models of the settings until the process ends."""
    quiet_libraries()
    settings = Settings.from_environment(os.environ)
    catalogue = Catalogue(open_models(settings))
    page = build_page([Tab("Other", "other", nothing), evaluate_tab(catalogue, catalogue.ask)])
    page.launch(**launch_options(page, settings))


if __name__ == "__main__":
    main()
