"""The shell around every page: navigation, nickname, device, tiles, runs. `st.App` runs it for every session."""

# Under this guard with its imports inside: a restarted worker process imports the main script as `__mp_main__`.
if __name__ == "__main__":
    from pathlib import Path

    import streamlit as st

    from pages.parts import session, sidebar

    # In the order of the lesson: script, title, icon, the question that the page answers, what one does there.
    PAGES = (
        ("start", "Start", "flag", "is a GPU worth it?", "The question, and whether this machine is ready."),
        (
            "tiles",
            "Tiles",
            "grid_view",
            "what is there to learn from?",
            "Browse the satellite tiles, class by class, and see what a network gets of them.",
        ),
        (
            "convolution",
            "Convolution",
            "filter_center_focus",
            "how does a network see?",
            "Step one filter over a tile, and see what each layer makes of it.",
        ),
        (
            "model",
            "Model",
            "account_tree",
            "what is learned, and where?",
            "Select a network, change it, or build one of your own.",
        ),
        ("train", "Train", "model_training", "does it learn?", "Train a network on CPU or GPU, and watch it learn."),
        (
            "profiler",
            "Profiler",
            "timer",
            "where does the time go?",
            "Record a few steps, see where their time goes, and what to change.",
        ),
        ("speed", "Speed", "speed", "what makes it faster?", "Change one thing, measure, and know whether it helped."),
        (
            "compare",
            "Compare",
            "compare_arrows",
            "which network wins?",
            "Put trainings side by side: who wins, by how much, and at what cost.",
        ),
        (
            "wrapup",
            "Wrap-up",
            "summarize",
            "what did you find out?",
            "Your own numbers, your own conclusion, and a report to take home.",
        ),
        (
            "predict",
            "Predict",
            "image_search",
            "what does it say to your picture?",
            "Ask a trained network about a tile, or a picture of your own.",
        ),
    )
    LESSON = 9  # what goes beyond it stands behind it

    # Pictures of our own: an icon by name would be fetched from the internet for the browser's tab.
    assets = Path(__file__).parents[1] / "assets"
    st.set_page_config(page_title="EuroSAT Lab", page_icon=str(assets / "icon.svg"), layout="wide")
    st.logo(str(assets / "logo.svg"), size="large")
    pages = [
        st.Page(f"{script}.py", title=title, icon=f":material/{icon}:", default=script == "start", help=about)
        for script, title, icon, _, about in PAGES
    ]
    page = st.navigation({"": pages[:LESSON], "More": pages[LESSON:]})
    session.keep_in_url()
    with st.sidebar:
        sidebar.draw()
    questions = {title: question for _, title, _, question, _ in PAGES}
    st.title(f"{page.title}: {questions[page.title]}", anchor=False)
    page.run()
