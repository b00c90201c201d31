"""Static pages, and what holds for all answers."""

from pathlib import Path

import httpx
import pytest

from collab import Collab, Settings
from tests.collab.serving import serving


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    (folder / ".git").mkdir(parents=True)
    (folder / "index.html").write_text("<p>hello")
    (folder / ".env").write_text("SECRET=1")
    (folder / ".git" / "config").write_text("secret")
    return folder


async def test_files_whose_path_begins_with_a_dot_are_not_served(tmp_path: Path, pages: Path) -> None:
    collab = Collab(Settings(data=str(tmp_path / "data"), pages=str(pages)))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        assert (await http.get("/")).text == "<p>hello"
        for path in ("/.env", "/.git/config", "/%2eenv"):
            assert (await http.get(path)).status_code == 404


async def test_a_single_page_is_the_answer_where_a_browser_looks_for_a_page(tmp_path: Path, pages: Path) -> None:
    (pages / "app.js").write_text("1")
    (pages / "about").mkdir()
    (pages / "about" / "index.html").write_text("<p>about")
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    collab = Collab(Settings(data=str(tmp_path / "data"), pages=str(pages), single_page=True))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        for path in ("/boards/b1", "/boards/", "/x?y=1.5", "/caf%C3%A9"):
            found = await http.get(path, headers=browser)
            assert (found.status_code, found.text) == (200, "<p>hello")
            assert found.headers["content-type"].startswith("text/html")
        assert (await http.get("/app.js")).text == "1"
        assert (await http.get("/about/", headers=browser)).text == "<p>about"
        for path in ("/app.css", "/assets/app-1a2b.js", "/.env", "/.git/config", "/a/.b"):
            assert (await http.get(path, headers=browser)).status_code == 404
        assert (await http.get("/boards/b1", headers={"accept": "*/*"})).status_code == 404
        assert (await http.post("/boards/b1", headers=browser)).status_code == 405
        for path in ("/api/v1/nothing", "/rooms/a/b/c"):
            assert (await http.get(path, headers=browser)).headers["content-type"] != found.headers["content-type"]


async def test_without_it_a_path_that_is_no_file_is_not_found(tmp_path: Path, pages: Path) -> None:
    collab = Collab(Settings(data=str(tmp_path / "data"), pages=str(pages)))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        assert (await http.get("/boards/b1", headers={"accept": "text/html"})).status_code == 404


@pytest.mark.parametrize("single_page", [False, True])
async def test_a_folder_without_a_page_is_not_found(tmp_path: Path, pages: Path, single_page: bool) -> None:
    (pages / "index.html").unlink()
    collab = Collab(Settings(data=str(tmp_path / "data"), pages=str(pages), single_page=single_page))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        for path in ("/", "/none/"):
            assert (await http.get(path, headers={"accept": "text/html"})).status_code == 404


async def test_all_answers_have_headers_that_browsers_heed(tmp_path: Path, pages: Path) -> None:
    collab = Collab(Settings(data=str(tmp_path / "data"), pages=str(pages)))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        for path in ("/", "/healthz", "/api/v1/collections/tasks", "/no-such-file"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'self'" in headers["content-security-policy"]


async def test_an_open_server_answers_nothing_under_a_foreign_name(tmp_path: Path, pages: Path) -> None:
    collab = Collab(Settings(data=str(tmp_path / "data"), pages=str(pages)))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        for path in ("/", "/healthz", "/readyz", "/metrics", "/api/v1/openapi.json", "/api/v1/health"):
            assert (await http.get(path, headers={"host": "evil.example"})).status_code == 403
            for probe in ("localhost:8000", "10.1.2.3:8000", "[fd00::1]:8000", "127.0.0.1"):
                assert (await http.get(path, headers={"host": probe})).status_code == 200
