//! What our own endpoints say when they cannot do what is asked.
//!
//! A page for a person, JSON for a program. Never repeats what was sent. Bound: one short text.

use http::{StatusCode, header};
use serde::Serialize;

use super::choice::BodyError;
use super::endpoints::{OwnRequest, language};
use super::reply::{self, Reply};
use super::site::SiteConsent;
use crate::pages;

/// What went wrong.
#[derive(Clone, Copy)]
pub(super) enum Problem {
    NotFound,
    Method,
    CrossSite,
    Body(BodyError),
    /// What the form speaks of is not what holds now.
    Outdated,
    /// The visitor chose elsewhere since the form was shown.
    Stale,
    /// There is no receipt to be had.
    NoReceipt,
    /// The receipt could not be written, so the choice does not count.
    NotStored,
    Internal,
}

impl Problem {
    const fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::Body(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::MediaType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(BodyError::Malformed(_)) => StatusCode::BAD_REQUEST,
            Self::Outdated | Self::Stale => StatusCode::CONFLICT,
            Self::NoReceipt => StatusCode::NOT_FOUND,
            Self::NotStored => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method => "method_not_allowed",
            Self::CrossSite => "cross_site",
            Self::Body(BodyError::TooLarge) => "body_too_large",
            Self::Body(BodyError::MediaType) => "media_type",
            Self::Body(BodyError::Malformed(_)) => "malformed",
            Self::Outdated => "text_changed",
            Self::Stale => "choice_changed",
            Self::NoReceipt => "no_receipt",
            Self::NotStored => "not_stored",
            Self::Internal => "internal",
        }
    }
}

/// An error as a page for a person, as JSON for a program.
pub(super) fn reply(request: &OwnRequest<'_>, site: &SiteConsent, why: Problem) -> Reply {
    let accepts_pages = request
        .headers
        .get(header::ACCEPT)
        .is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some());
    if !accepts_pages {
        return for_program(why);
    }
    let language = language(request, site);
    let cause = match why {
        Problem::CrossSite => pages::consent::Cause::Unproven,
        Problem::Outdated | Problem::Stale => pages::consent::Cause::Outdated,
        Problem::NotStored => pages::consent::Cause::NotStored,
        _ => pages::consent::Cause::Unreadable,
    };
    reply::page(why.status(), language, pages::consent::problem(language, &site.prefix, cause))
}

/// An error as JSON.
pub(super) fn for_program(why: Problem) -> Reply {
    let detail = match why {
        Problem::Body(BodyError::Malformed(detail)) => Some(detail),
        _ => None,
    };
    reply::json(why.status(), &Failure { error: why.label(), detail })
}

#[derive(Serialize)]
struct Failure {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}
