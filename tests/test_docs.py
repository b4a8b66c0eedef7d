"""The pages in Markdown: short where they begin, and their links lead somewhere."""

import re

import pytest
from conftest import PROJECT_DIR

DOCS_DIR = PROJECT_DIR / "docs"
PAGES = [
    *(PROJECT_DIR / "README.md", PROJECT_DIR / "CONTRIBUTING.md"),
    *sorted(DOCS_DIR.glob("*.md")),
]


def read(path):
    return path.read_text(encoding="utf-8")


def links(text):
    """The targets of the links and pictures of a page, without its code blocks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for link in links(read(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(read(target)), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_are_there(page):
    names = re.findall(
        r"\b((?:tests|seqmnist|benchmarks|results|docs)/[\w/.-]+\.(?:py|md|npz))\b",
        read(page),
    )
    for name in names:
        assert (PROJECT_DIR / name).is_file() or (page.parent / name).is_file(), name


def test_the_architecture_has_every_module():
    """Those of the three commands' folders are in the folders' docstrings."""
    text = read(DOCS_DIR / "architecture.md")
    package = PROJECT_DIR / "seqmnist"
    for path in package.glob("**/*.py"):
        folder = path.parent.relative_to(package).as_posix()
        if path.name == "__init__.py":
            assert folder == "." or f"`{folder}/`" in text
        elif folder not in ("comparing", "predicting", "launching"):
            assert f"`{path.name}`" in text or f"`{folder}/{path.name}`" in text, path


def test_the_index_has_every_page():
    found = links(read(DOCS_DIR / "index.md"))
    names = {page.name for page in DOCS_DIR.glob("*.md")} - {"index.md"}
    assert {link for link in found if "/" not in link} == names
    assert "docs/index.md" in links(read(PROJECT_DIR / "README.md"))


def test_the_readme_is_short():
    text = read(PROJECT_DIR / "README.md")
    assert text.count("\n") <= 200
    assert len(text.split()) <= 1800


def test_the_readme_has_the_two_commands():
    text = read(PROJECT_DIR / "README.md")
    (block,) = re.findall(r"^```\n(make .*?)^```$", text, flags=re.M | re.S)
    assert re.findall(r"^make(?: \w+)?(?=  )", block, re.M) == ["make", "make test"]
    makefile = read(PROJECT_DIR / "Makefile")
    assert re.search(r"^test: ", makefile, re.M)


def test_the_two_tables_of_notebooks_have_the_same_commands():
    row = re.compile(r"^\| \d\. [^|]* \| `python ([^`]*)` \|", re.M)
    short, full = (
        row.findall(read(p))
        for p in (PROJECT_DIR / "README.md", DOCS_DIR / "notebooks.md")
    )
    assert short == full and len(full) == 5
