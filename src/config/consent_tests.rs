//! Tests of the `[consent]` table: what it reads, and what is told about mistakes in it.

use crate::config::parse_pure;
use crate::cookies::Actions;

fn read(consent: &str) -> Result<crate::config::Config, String> {
    let toml = format!(
        "[[listen]]\naddress = \"[::]:80\"\n[[site]]\nhosts = [\"a\"]\nupstream = [\"http://b\"]\n[consent]\n{consent}\n"
    );
    parse_pure(toml.as_bytes()).map_err(|problems| problems.render(false))
}

#[test]
fn the_cookies_of_every_source_are_named() {
    let config = read(
        "sources = [\"own\", \"onetrust\", \"tcf\", \"gpp\"]\ntcf_cookies = [\"tc\", \"x*\"]\n\
         [[consent.cookie]]\nprefix = \"mine\"\npath = \"a.b\"\nalso = [{ cookie = \"seen\", equals = \"1\" }]",
    )
    .unwrap();
    let expected = ["=OptanonConsent", "=OptanonAlertBoxClosed", "^mine", "=seen", "=tc", "^x", "=__gpp"];
    let banners = config.consent.banners(Actions::default());
    let names: Vec<String> = banners.names().iter().map(super::Name::pattern).collect();
    assert_eq!(names, expected);
    let patterns = config.consent.patterns();
    assert!(expected.iter().all(|name| patterns.iter().any(|pattern| pattern == name)), "{patterns:?}");
}

#[test]
fn nothing_is_read_that_is_not_listed() {
    let config = read("").unwrap();
    assert!(config.consent.banners(Actions::default()).names().is_empty());
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    for (consent, told) in [
        ("sources = [\"klaro\"]", "what does your `klaro` call advertising?"),
        ("[[consent.preset]]", "which banner is this about?"),
        ("[[consent.preset]]\nsource = \"onetrust\"", "`onetrust` is not read"),
        (
            "sources = [\"cookiebot\"]\n[[consent.preset]]\nsource = \"cookiebot\"\nadvertising = [\"x\"]",
            "`cookiebot` has nothing of the kind to be told",
        ),
        (
            "sources = [\"onetrust\"]\n[[consent.preset]]\nsource = \"onetrust\"\n[[consent.preset]]\nsource = \"onetrust\"",
            "`onetrust` is already there as consent.preset[0]",
        ),
        (
            "sources = [\"complianz\"]\n[[consent.preset]]\nsource = \"complianz\"\nprefix = \"a;b\"",
            "no cookie has this name",
        ),
        ("tcf_cookies = [\"kelisim_consent\"]", "the gateway's own cookie"),
        ("tcf_cookies = [\"*\"]", "no cookie has this name"),
        ("[[consent.cookie]]\npath = \"a\"", "needs a `name` or a `prefix`"),
        ("[[consent.cookie]]\nname = \"a\"\nprefix = \"a\"\npath = \"a\"", "either `name` or `prefix`"),
        ("[[consent.cookie]]\nprefix = \"k\"\npath = \"a\"", "the gateway's own cookie"),
        ("[[consent.cookie]]\nname = \"a\"", "where does it say so?"),
        (
            "[[consent.cookie]]\nname = \"a\"\nformat = \"flag\"\npath = \"b\"",
            "format `flag` has no such place",
        ),
        (
            "[[consent.cookie]]\nname = \"a\"\nformat = \"kv\"\npath = \"b\"\nseparators = [\",\"]",
            "format `kv` has 2 separators",
        ),
        ("[[consent.cookie]]\nname = \"a\"\npath = \"b\"\nversion = \"v\"", "belong together"),
        (
            "[[consent.cookie]]\nname = \"a\"\npath = \"b\"\ngrants = [\"x\"]\ndenies = [\"x\"]",
            "`x` grants and denies",
        ),
        (
            "[[consent.cookie]]\nname = \"a\"\npath = \"b\"\nalso = [{ cookie = \"c\" }]",
            "needs `cookie` and `equals`",
        ),
    ] {
        let said = read(consent).map(|_| ()).unwrap_err();
        assert!(said.contains(told), "{consent}\n{said}");
    }
    let many = "[[consent.cookie]]\nname = \"a\"\npath = \"b\"\n".repeat(super::banner::MAX_OWN + 1);
    assert!(read(&many).unwrap_err().contains("more than 8 entries"));
}
