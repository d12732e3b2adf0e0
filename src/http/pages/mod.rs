//! Pages for people: what they show ([`view`]), how dates, amounts and lengths are written ([`fmt`]), and the pictures
//! ([`plot`]). The templates lie in `templates/`, the one stylesheet in `assets/makegood.css`; no page needs JavaScript.

pub mod fmt;
pub mod plot;
pub mod view;

#[cfg(test)]
mod look;

/// The stylesheet, served at `/assets/makegood.css`. An operator re-brands it by three variables at its top.
pub const STYLESHEET: &str = include_str!("../../../assets/makegood.css");

/// The icon of browser tabs, served at `/assets/icon.svg` as `image/svg+xml`.
pub const ICON: &str = include_str!("../../../assets/icon.svg");

/// What pages may load and do: nothing from elsewhere, no script, no style but ours and the two chart variables.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; \
    script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
