"""The pages in Markdown: short where they begin, and their links lead somewhere."""

import re

import pytest
from conftest import PROJECT_DIR
from pages import DOCS_DIR, PAGES, named_blocks, read


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


def test_the_folders_of_the_readme_are_there():
    """All scripts, and all of the package."""
    picture = named_blocks(PROJECT_DIR / "README.md")["folders"]
    rows = re.findall(r"^( *)((?:[\w.]+(?:\.py|/)(?: +|$))+)", picture, re.M)
    found = {indent: set() for indent, _ in rows}
    for indent, names in rows:
        found[indent].update(names.split())
    assert {name for name in found[""] if name.endswith(".py")} == {
        path.name for path in PROJECT_DIR.glob("*.py")
    }
    assert all((PROJECT_DIR / name).exists() for name in found[""])
    package = PROJECT_DIR / "seqmnist"
    assert found["  "] == {
        *(path.name for path in package.glob("[!_]*.py")),
        *(f"{path.parent.name}/" for path in package.glob("*/__init__.py")),
    }


def test_imports_point_as_the_picture_says():
    """Those at the beginning of a module; folders not in the picture are left out."""
    picture = named_blocks(DOCS_DIR / "architecture.md")["directions"]
    layers = [name.strip() for name in picture.split("→")]

    def place(parts):
        if parts[0] != "seqmnist":
            return "scripts"
        if (PROJECT_DIR / "seqmnist" / parts[1]).is_dir():
            return f"{parts[1]}/"
        helpers = (
            "tf1",
            "compile_cache",
            "errors",
            "paths",
            "cores",
            "scripts",
            "waiting",
        )
        return "small helpers" if parts[1] in helpers else "the lesson"

    seen = set()
    for path in [
        *PROJECT_DIR.glob("train_*.py"),
        *PROJECT_DIR.glob("seqmnist/**/*.py"),
    ]:
        importer = place(path.relative_to(PROJECT_DIR).with_suffix("").parts)
        for module in re.findall(
            r"^from (seqmnist[\w.]* import \w+)", read(path), re.M
        ):
            imported = place(re.split(r"\.| import ", module))
            if {importer, imported} <= set(layers):
                assert layers.index(importer) <= layers.index(imported), (path, module)
                seen.add(imported)
    assert seen == set(layers[1:])


def test_the_two_tables_of_notebooks_have_the_same_commands():
    row = re.compile(r"^\| \d\. [^|]* \| `python ([^`]*)` \|", re.M)
    short, full = (
        row.findall(read(p))
        for p in (PROJECT_DIR / "README.md", DOCS_DIR / "notebooks.md")
    )
    assert short == full and len(full) == 5
