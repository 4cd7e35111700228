//! The Django example: a real project with its admin, on SQLite.

use std::path::{Path, PathBuf};

use crate::client::{Address, Response, Session};
use crate::harness::{Builder, Server, quoted, root};
use crate::tools;

/// The project with a database of its own, ready to be started.
pub(crate) fn project() -> Builder {
    let builder = Builder::example("django", "site_config.wsgi").with("workers.count", "2");
    let database = builder.path("db.sqlite3");
    manage(&database, &["migrate", "--verbosity=0"]);
    manage(&database, &["make_admin", "--password=correct horse"]);
    builder
        .with("app.environment", &format!("{{ DJANGO_DATABASE = {} }}", quoted(database.to_str().unwrap())))
}

fn manage(database: &Path, arguments: &[&str]) {
    let directory: PathBuf = root().join("examples/django");
    let arguments: Vec<&str> = ["manage.py"].iter().chain(arguments).copied().collect();
    tools::python(&directory, &arguments, &[("DJANGO_DATABASE", database)]);
}

fn serve() -> Server {
    project().start()
}

/// The hidden field that proves that a form came from the site.
#[track_caller]
pub(crate) fn token(page: &Response) -> String {
    let text = page.text();
    let mark = "name=\"csrfmiddlewaretoken\" value=\"";
    let start = text.find(mark).unwrap_or_else(|| panic!("a form with a token: {text}")) + mark.len();
    text[start..].split('"').next().unwrap_or_default().to_owned()
}

#[track_caller]
fn log_in(address: &Address) -> Session {
    let mut session = Session::new(address);
    let response = session.get("/admin/").expect(302);
    assert_eq!(response.header("location"), Some("/admin/login/?next=/admin/"));
    let form = session.get("/admin/login/?next=/admin/").expect(200);
    let fields = [("username", "admin"), ("password", "correct horse"), ("next", "/admin/")];
    // Without the token the form is refused, with a wrong password it is shown again.
    session.post("/admin/login/", &fields).expect(403);
    let token = token(&form);
    let wrong = [("csrfmiddlewaretoken", token.as_str()), ("username", "admin"), ("password", "wrong")];
    session.post("/admin/login/", &wrong).expect(200);
    assert_eq!(session.cookie("sessionid"), None);
    let mut right = vec![("csrfmiddlewaretoken", token.as_str())];
    right.extend(fields);
    let response = session.post("/admin/login/", &right).expect(302);
    assert_eq!(response.header("location"), Some("/admin/"));
    assert!(session.cookie("sessionid").is_some());
    session
}

#[test]
fn admin_with_sessions_and_csrf() {
    let server = serve();
    let mut session = log_in(&server.address());
    assert!(session.get("/admin/").expect(200).text().contains("Site administration"));
    let form = session.get("/admin/guestbook/entry/add/").expect(200);
    let token = token(&form);
    let fields =
        [("csrfmiddlewaretoken", token.as_str()), ("name", "Ada"), ("message", "Grüße & <b>bold</b>")];
    let response = session.post("/admin/guestbook/entry/add/", &fields).expect(302);
    assert_eq!(response.header("location"), Some("/admin/guestbook/entry/"));
    let list = session.get("/admin/guestbook/entry/?q=Ada").expect(200).text();
    assert!(list.contains("Grüße &amp; &lt;b&gt;bold"), "{list}");
    assert!(session.get("/").expect(200).text().contains("<b>Ada</b>"));
    let style = session.get("/static/admin/css/base.css").expect(200);
    assert!(style.header("content-type").unwrap().starts_with("text/css"));
    let page = session.get("/admin/").expect(200);
    let token = self::token(&page);
    session.post("/admin/logout/", &[("csrfmiddlewaretoken", &token)]).expect(200);
    session.get("/admin/").expect(302);
}

#[test]
fn form_and_redirect() {
    let server = serve();
    let mut session = Session::new(&server.address());
    let page = session.get("/").expect(200);
    let token = token(&page);
    let fields = [("csrfmiddlewaretoken", token.as_str()), ("name", "Grace"), ("message", "a+b=c %")];
    assert_eq!(session.post("/sign/", &fields).expect(302).header("location"), Some("/"));
    assert!(session.get("/").expect(200).text().contains("a+b=c %"));
    session.post("/sign/", &[("csrfmiddlewaretoken", &token)]).expect(422);
    assert_eq!(session.get("/old/").expect(301).header("location"), Some("/"));
    session.get("/sign/").expect(405);
}

/// Uploads 20 MB and compares what Django saw.
#[track_caller]
pub(crate) fn upload_20_mb(address: &Address) {
    let mut session = Session::new(address);
    let page = session.get("/").expect(200);
    let token = token(&page);
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| u8::try_from(n / 3 % 253).unwrap()).collect();
    let response =
        session.upload("/upload/", &[("csrfmiddlewaretoken", &token)], ("file", &content)).expect(200);
    let answer = response.json();
    assert_eq!((answer["name"].as_str(), answer["size"].as_u64()), (Some("upload.bin"), Some(20_000_000)));
    let code =
        "import hashlib; print(hashlib.sha256(bytes(n // 3 % 253 for n in range(20_000_000))).hexdigest())";
    let wanted = tools::python(&root(), &["-c", code], &[]);
    assert_eq!(answer["sha256"], wanted.trim());
}

#[test]
fn upload_of_20_mb() {
    let server = serve();
    upload_20_mb(&server.address());
}

#[test]
fn streaming_and_file_responses() {
    let server = serve();
    let mut session = Session::new(&server.address());
    let stream = session.get("/stream/").expect(200);
    assert_eq!(stream.header("transfer-encoding"), Some("chunked"));
    let wanted: String = (0..1000).map(|n| format!("line {n}\n")).collect();
    assert_eq!(stream.text(), wanted);
    let source = std::fs::read_to_string(root().join("examples/django/guestbook/views.py")).unwrap();
    let file = session.get("/source/").expect(200);
    assert_eq!(file.header("content-length"), Some(source.len().to_string().as_str()));
    assert_eq!(file.text(), source);
}

#[test]
fn cookies_count_visits() {
    let server = serve();
    let mut session = Session::new(&server.address());
    for visit in 1..=3 {
        assert_eq!(session.get("/visits/").expect(200).text(), format!("visit {visit}"));
    }
}

#[test]
fn error_pages() {
    let server = serve();
    let mut session = Session::new(&server.address());
    session.get("/nothing/").expect(404);
    session.get("/broken/").expect(500);
    server.wait_for("LookupError: this view is broken on purpose");
    let request = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    server.connect().send(request).response().expect(400);
    session.get("/").expect(200);
}
