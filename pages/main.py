"""The shell around every page: navigation, nickname, device, tiles, runs. `st.App` runs it for every session."""

# Under this guard with its imports inside: a restarted worker process imports the main script as `__mp_main__`.
if __name__ == "__main__":
    import streamlit as st

    from eurosat_core.folders import ASSETS
    from pages.parts import asked, lesson, looking, session, sidebar
    from pages.parts.classroom import guide
    from pages.parts.turns import turn

    LESSON = 9  # what goes beyond it stands behind it

    # Pictures of our own: an icon by name would be fetched from the internet for the browser's tab.
    st.set_page_config(page_title="EuroSAT Lab", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.logo(str(ASSETS / "logo.svg"), size="large")
    told = lesson.pages()
    pages = [
        st.Page(
            f"{name}.py",
            title=each["title"],
            icon=f":material/{each['icon']}:",
            default=name == "start",
            help=each["about"],
        )
        for name, each in told.items()
    ]
    projector = st.Page("projector.py", title="Projector", visibility="hidden")
    bare = (st.context.url or "").partition("?")[0].endswith("/projector") or bool(session.seen())
    page = st.navigation(
        {"": pages[:LESSON], "More": [*pages[LESSON:], projector]}, position="hidden" if bare else "sidebar"
    )
    if page is projector:  # large, and nothing beside it
        page.run()
        st.stop()
    looks_on = looking.begin()
    if not looks_on:
        session.keep_in_url()
    with turn():
        if looks_on:
            looking.banner()
        else:
            with st.sidebar:
                sidebar.draw()
        name, question = next((name, each["question"]) for name, each in told.items() if each["title"] == page.title)
        if not looks_on:
            session.here(name)
        st.title(f"{page.title}: {question}", anchor=False)
        if name != "classroom" and not looks_on:
            asked.draw(name)
        calm = session.lab().calm
        calm.clear()
        try:
            if guide.is_closed(name):
                guide.say_closed()
            else:
                page.run()
        finally:
            calm.set()
