//! What the consent parts need to know of one site, compiled once from the configuration.
//!
//! Never changes while requests run: a reload makes a new one. Bound: the configuration.

use super::banner::Banners;
use super::gate::Gate;
use super::notice::Notices;
use super::policy::Policies;
use super::precedence::Rules;
use super::receipts::Controller;
use super::sources::Sources;
use crate::config;
use crate::cookies::{Actions, Mode};
use crate::pages::language::Language;

/// One site's rules about consent.
#[derive(Clone, Debug)]
pub struct SiteConsent {
    /// The name for which records are signed: the first host. A record does not move between sites.
    pub name: String,
    /// Path of our own endpoints, with both slashes.
    pub prefix: String,
    /// What is read of ours and of the browser's.
    pub sources: Sources,
    /// What is read of other banners.
    pub banners: Banners,
    /// How it is weighed.
    pub rules: Rules,
    /// What needs acceptance of the policy.
    pub gate: Gate,
    /// Which purposes wait for a choice; only these get a switch on the page.
    pub actions: Actions,
    /// Whether what is decided is enforced.
    pub mode: Mode,
    /// Whether the visitor's country is looked up.
    pub location: bool,
    /// Language of our pages when the visitor states none.
    pub language: Language,
    /// Who is responsible, for receipts.
    pub controller: Option<Controller>,
    /// Law under which the site works, for receipts.
    pub jurisdiction: Option<String>,
    /// What visitors are told.
    pub notices: Notices,
}

impl SiteConsent {
    /// Compiles one site.
    #[must_use]
    pub fn new(
        site: &config::Site,
        consent: &config::Consent,
        (actions, mode): (Actions, Mode),
        location: bool,
    ) -> Self {
        let policy = site.policy.as_ref();
        Self {
            name: site.hosts.first().cloned().unwrap_or_default(),
            prefix: site.prefix.clone(),
            sources: Sources::new(&consent.sources),
            banners: consent.banners(actions),
            rules: Rules {
                max_age: consent.max_age,
                gpc_over_own_grant: consent.gpc_over_own_grant,
                policies: Policies::new(policy),
            },
            gate: Gate::new(policy.map_or(&[], |p| p.gate.as_slice())),
            actions,
            mode,
            location,
            language: policy.and_then(|p| Language::from_tag(&p.default_language)).unwrap_or(Language::En),
            controller: site
                .controller
                .as_ref()
                .map(|who| Controller { name: who.name.clone(), contact: who.contact.clone() }),
            jurisdiction: site.controller.as_ref().and_then(|who| who.jurisdiction.clone()),
            notices: Notices::new(&site.notices),
        }
    }

    /// A site for tests: policy `2026-11` in kk and en, `/register` behind the gate.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        let policy = super::policy::tests::policy(&[
            ("2026-11", "kk", 1_795_305_600, "# Құпиялылық саясаты\n\nМәтін."),
            (
                "2026-11",
                "en",
                1_795_305_600,
                "# Privacy policy\n\n## 1. Terms\n\n1. Text with a [link](https://kz.example/).\n2. More.\n\n| data | term |\n|---|---|\n| address | 30 days |\n",
            ),
            ("2025-01", "en", 1_735_689_600, "# Old policy"),
        ]);
        Self::new(
            &config::Site {
                hosts: vec!["kz.example".into(), "www.kz.example".into()],
                upstream: vec![],
                balance: config::Balance::RoundRobin,
                protocol: config::Protocol::Http1,
                upstream_tls: None,
                health: None,
                trusted_proxies: vec![],
                client_address_from: Default::default(),
                client_address_to: None,
                prefix: "/.kelisim/".into(),
                policy: Some(policy),
                controller: Some(config::Controller {
                    name: "The Site".into(),
                    contact: "privacy@kz.example".into(),
                    jurisdiction: Some("kz".into()),
                }),
                notices: vec![],
                body_bytes: 0,
                rate_limit: None,
                routes: crate::record::route::Routes::default(),
            },
            &config::Consent {
                sources: vec![
                    config::ConsentSource::Own,
                    config::ConsentSource::Gpc,
                    config::ConsentSource::Dnt,
                ],
                max_age: std::time::Duration::from_secs(365 * 86_400),
                gpc_over_own_grant: false,
                proof_term: std::time::Duration::from_secs(1095 * 86_400),
                ..config::Consent::default()
            },
            {
                let mut actions = Actions::default();
                actions.set(crate::cookies::Category::Functional, crate::cookies::Action::Consent);
                actions.set(crate::cookies::Category::Analytics, crate::cookies::Action::Consent);
                (actions, Mode::Enforce)
            },
            true,
        )
    }
}
