"""Pages of the repository, as pages of the site: where they are, and how their links are written there."""

from __future__ import annotations

import pytest

from website.links import place, rewritten, source_page, with_anchors

REPOSITORY = "https://git.example.com/collab"


def in_site(text: str, path: str = "docs/start/react.md") -> str:
    return rewritten(text, path, REPOSITORY, lambda linked: "missing" not in linked)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("docs/quickstart.md", "quickstart.md"),
        ("docs/deploy/nginx.md", "deploy/nginx.md"),
        ("docs/images/demo.jpg", "images/demo.jpg"),
        ("bench/README.md", "numbers/editing.md"),
        ("bench/results/2026-11-23-cpu.svg", "numbers/2026-11-23-cpu.svg"),
        ("js/react/README.md", "reference/javascript/react.md"),
        ("examples/mount_fastapi.py", "sources/examples/mount_fastapi-py.md"),
        ("docker/Caddyfile", "sources/docker/caddyfile.md"),
        ("README.md", None),
        ("collab/errors.py", None),
    ],
)
def test_a_file_has_one_place_or_none(path: str, there: str | None) -> None:
    assert place(path) == there


@pytest.mark.parametrize(
    ("link", "there"),
    [
        ("../clients.md#python", "../clients.md#python"),
        ("vue.md", "vue.md"),
        ("#here", "#here"),
        ("https://yjs.dev/docs.md", "https://yjs.dev/docs.md"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("../../js/react/README.md#functions", "../reference/javascript/react.md#functions"),
        ("../../js/react", "../reference/javascript/react.md"),
        ("../../bench/results/README.md", "../numbers/index.md"),
        ("../../README.md", "../index.md"),
        ("../../docker/compose.yaml", "../sources/docker/compose-yaml.md"),
        ("../../js/demo/src/editors", f"{REPOSITORY}/blob/HEAD/js/demo/src/editors"),
    ],
)
def test_a_link_leads_to_the_same_in_the_site_else_to_the_repository(link: str, there: str) -> None:
    assert in_site(f"See [this]({link}).") == f"See [this]({there})."


def test_several_links_and_pictures_of_a_line_are_rewritten_each() -> None:
    assert (
        in_site("![a](../images/a.jpg) [b](../http.md)", "docs/start/x.md") == "![a](../images/a.jpg) [b](../http.md)"
    )
    assert in_site("[a](docs/http.md), [b](docs/login.md)", "CHANGELOG.md") == "[a](../http.md), [b](../login.md)"


def test_a_link_that_leads_nowhere_is_named() -> None:
    with pytest.raises(LookupError, match=r"docs/start/react.md: missing.md#there"):
        in_site("[x](missing.md#there)")


def test_code_stays_as_it_is_but_for_the_name_behind_its_language() -> None:
    code = "```jsx tiptap\n[x](missing.md)\n```"
    assert in_site(code) == "```jsx\n[x](missing.md)\n```"
    assert in_site("````md\n```js name\n````\n[v](vue.md)") == "````md\n```js name\n````\n[v](vue.md)"


def test_repeated_titles_have_the_anchors_that_github_gives_them() -> None:
    text = "# `collab serve`, or mounted\n\n## Limits\n\n```sh\n# no title\n```\n\n## Limits\n"
    assert with_anchors(text) == (
        "# `collab serve`, or mounted { #collab-serve-or-mounted }\n\n## Limits { #limits }\n\n"
        "```sh\n# no title\n```\n\n## Limits { #limits-1 }\n"
    )


def test_anchors_of_typedoc_count_too() -> None:
    assert with_anchors('| <a id="data"></a> |\n### data').endswith("### data { #data-1 }")


def test_a_source_is_shown_whole_and_not_searched() -> None:
    page = source_page("examples/chat.py", "print('```')\n")
    assert page.endswith("# examples/chat.py\n\n````python\nprint('```')\n````\n")
    assert "exclude: true" in page
