"""The shell around every page: navigation, nickname, device, tiles, runs. `st.App` runs it for every session."""

# Under this guard with its imports inside: a restarted worker process imports the main script as `__mp_main__`.
if __name__ == "__main__":
    from pathlib import Path

    import streamlit as st

    from pages.parts import session, sidebar

    # The order of the lesson.
    PAGES = [
        st.Page(
            "start.py",
            title="Start",
            icon=":material/flag:",
            default=True,
            help="The question, and whether this machine is ready.",
        ),
        st.Page(
            "tiles.py",
            title="Tiles",
            icon=":material/grid_view:",
            help="Browse the satellite tiles, class by class, and see what a network gets of them.",
        ),
        st.Page(
            "convolution.py",
            title="Convolution",
            icon=":material/filter_center_focus:",
            help="Step one filter over a tile, and see what each layer makes of it.",
        ),
        st.Page(
            "model.py",
            title="Model",
            icon=":material/account_tree:",
            help="Select a network, change it, or build one of your own.",
        ),
        st.Page(
            "train.py",
            title="Train",
            icon=":material/model_training:",
            help="Train a network on CPU or GPU, and watch it learn.",
        ),
        st.Page(
            "profiler.py",
            title="Profiler",
            icon=":material/timer:",
            help="Record a few steps, see where their time goes, and what to change.",
        ),
        st.Page(
            "speed.py",
            title="Speed",
            icon=":material/speed:",
            help="Change one thing, measure, and know whether it helped.",
        ),
        st.Page(
            "compare.py",
            title="Compare",
            icon=":material/compare_arrows:",
            help="Put trainings side by side: who wins, by how much, and at what cost.",
        ),
        st.Page(
            "wrapup.py",
            title="Wrap-up",
            icon=":material/summarize:",
            help="Your own numbers, your own conclusion, and a report to take home.",
        ),
    ]
    # What goes beyond the lesson stands behind it.
    MORE = [
        st.Page(
            "predict.py",
            title="Predict",
            icon=":material/image_search:",
            help="Ask a trained network about a tile, or a picture of your own.",
        ),
    ]

    # Pictures of our own: an icon by name would be fetched from the internet for the browser's tab.
    assets = Path(__file__).parents[1] / "assets"
    st.set_page_config(page_title="EuroSAT Lab", page_icon=str(assets / "icon.svg"), layout="wide")
    st.logo(str(assets / "logo.svg"), size="large")
    page = st.navigation({"": PAGES, "More": MORE})
    session.keep_in_url()
    with st.sidebar:
        sidebar.draw()
    st.title(page.title, anchor=False)
    page.run()
