//! Several gateways: on the same ports by mistake, and before one site on purpose.

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::{Mutex, mpsc};

use rustix::process::Signal;

use crate::support::cli::kelisim;
use crate::support::server::free_port;
use crate::support::{Answer, Gateway, Origin, PATIENCE, Protocol, Visitor, ask, wait_for};

#[test]
fn ports_of_another_gateway_are_not_shared() {
    let origin = Origin::pages();
    for workers in ["1", "2"] {
        let first = Gateway::build(&[&origin]).key("workers", workers).start();
        let free = free_port();
        for (listen, admin) in [(first.addresses[0], free), (free, first.admin_address())] {
            let second = Gateway::build(&[&origin])
                .key("workers", workers)
                .key("admin.address", &format!("\"{admin}\""))
                .at(listen);
            let path = second.folder().join("kelisim.toml");
            std::fs::write(&path, second.toml()).unwrap();
            let said = kelisim(&["run", "--config", path.to_str().unwrap()]);
            assert_eq!(said.code, 70, "{said:?}");
            assert!(said.err.contains("cannot listen on") && said.err.contains("in use"), "{said:?}");
        }
        assert_eq!((first.client().get("/").status, first.admin("/readyz").status), (200, 200));
        first.finish();
    }
}

#[test]
fn listeners_of_one_gateway_may_overlap() {
    let origin = Origin::pages();
    let port = free_port().port();
    let both = format!("[[listen]]\naddress = \"0.0.0.0:{port}\"\n");
    let gateway = Gateway::build(&[&origin]).at(([127, 0, 0, 1], port).into()).tables(&both).start();
    assert_eq!(gateway.client().get("/").status, 200);
    gateway.finish();
}

/// One that drains gives no socket away any more, but whoever follows it on its data folder need not wait.
#[test]
fn a_gateway_that_drains_can_be_followed_at_once() {
    let (arrived, arrival) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (arrived, released) = (Mutex::new(arrived), Mutex::new(released));
    let origin = Origin::start(move |seen| {
        if seen.target == "/slow" {
            let _ = arrived.lock().unwrap().send(());
            let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        }
        Answer::page()
    });
    let mut first = Gateway::of(&origin);
    std::thread::scope(|scope| {
        let mut client = first.client();
        let slow = scope.spawn(move || client.get("/slow").status);
        arrival.recv_timeout(PATIENCE).expect("a request at the site");
        first.term();
        wait_for("the port to close", || std::net::TcpStream::connect(first.addresses[0]).err());
        let next = first.successor();
        assert_eq!(next.client().get("/").status, 200);
        release.send(()).unwrap();
        assert_eq!(slow.join().unwrap(), 200);
        assert_eq!(first.wait().code(), Some(0));
        next.finish();
    });
}

/// As `deploy/README.md` says: the files of the keys lie in the second folder before the second gateway starts.
#[test]
fn gateways_with_the_same_keys_know_each_others_visitors() {
    let origin = Origin::pages();
    let first = Gateway::of(&origin);
    let builder = Gateway::build(&[&origin]);
    let keys = builder.folder().join("records/keys");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&keys).unwrap();
    for name in ["consent.key", "visitor.key"] {
        std::fs::copy(first.data().join("keys").join(name), keys.join(name)).unwrap();
    }
    let (second, stranger) = (builder.start(), Gateway::of(&origin));
    let mut visitor = Visitor::new(&first, Protocol::Http1);
    visitor.open("/");
    visitor.grant();
    let named = |gateway: &Gateway| {
        let mut there = Visitor::new(gateway, Protocol::Http1);
        ["kelisim_consent", "kelisim_vid"]
            .iter()
            .for_each(|name| there.hold(name, visitor.cookie(name).expect("a cookie")));
        let answer = there.fetch(ask("GET", "/"));
        let consent = origin.last().headers.one("kelisim-consent").unwrap_or_default().to_owned();
        (
            consent.contains("advertising=granted"),
            answer.set_cookies().iter().any(|c| c.starts_with("kelisim_vid")),
        )
    };
    assert_eq!(named(&second), (true, false), "granted, and no new visitor");
    assert_eq!(named(&stranger), (false, true), "keys of its own");
}

/// A pipe in the place of a file that is looked at again and again: nobody writes into it.
#[test]
fn a_pipe_in_the_place_of_a_database_stops_neither_health_nor_the_end() {
    let origin = Origin::pages();
    let database = concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/country.mmdb");
    let builder = Gateway::build(&[&origin])
        .key("geoip.country", "\"country.mmdb\"")
        .key("geoip.check_every", "\"1s\"");
    let path = builder.folder().join("country.mmdb");
    std::fs::copy(database, &path).unwrap();
    let gateway = builder.start();
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let said =
        gateway.wait_for_log(0, "the refusal", |line| line.contains("the old location database stays"));
    assert!(said.contains("not a regular file"), "{said}");
    assert_eq!(gateway.admin("/healthz").status, 200);
    let reload = gateway.reload(|text| format!("{text}\n# again\n"));
    assert!(reload.contains("stays in force"), "{reload}");
    gateway.signal(Signal::TERM);
    gateway.finish();
}
