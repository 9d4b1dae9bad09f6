//! The slots of one server, and the plan for one request.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Template;
use crate::names::SecretName;
use crate::vault::SecretSet;

/// Where a server expects secrets, as the operator declared.
pub struct Slots {
    headers: Vec<(HeaderName, Template)>,
}

/// What is to be put into one request. Data: nothing is changed before [`Plan::apply`].
pub struct Plan {
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unplannable {
    /// The user has not set these.
    Missing(Vec<SecretName>),
    /// The result cannot stand in this header: a value was stored before the slot was declared.
    Unfit(HeaderName),
}

impl Slots {
    /// The slots of a server.
    #[must_use]
    pub fn new(headers: Vec<(HeaderName, Template)>) -> Self {
        Self { headers }
    }

    /// Whether a request needs any secret at all.
    #[must_use]
    pub fn need_secrets(&self) -> bool {
        self.headers
            .iter()
            .any(|(_, template)| !template.is_constant())
    }

    /// The names of all secrets the slots use, each once.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<&SecretName> {
        self.headers
            .iter()
            .flat_map(|(_, template)| template.secrets())
            .collect()
    }

    /// Whether a slot sets this header.
    #[must_use]
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(slot, _)| slot == name)
    }

    /// How many of the client's headers the slots replace.
    #[must_use]
    pub fn replaced(&self, client: &HeaderMap) -> usize {
        self.headers
            .iter()
            .filter(|(name, _)| client.contains_key(name))
            .count()
    }

    /// Fills the slots from a user's secrets.
    ///
    /// # Errors
    /// Every secret that is missing at once, or the first header its value does not fit.
    pub fn plan(&self, secrets: &SecretSet) -> Result<Plan, Unplannable> {
        let mut headers = Vec::with_capacity(self.headers.len());
        let mut missing = BTreeSet::new();
        for (name, template) in &self.headers {
            match template.render(|secret| secrets.expose(secret)) {
                Ok(value) => {
                    let unfit = |_| Unplannable::Unfit(name.clone());
                    let mut value = HeaderValue::from_bytes(&value).map_err(unfit)?;
                    value.set_sensitive(true);
                    headers.push((name.clone(), value));
                }
                Err(error) => missing.extend(error.names().iter().cloned()),
            }
        }
        if missing.is_empty() {
            Ok(Plan { headers })
        } else {
            Err(Unplannable::Missing(missing.into_iter().collect()))
        }
    }
}

impl Plan {
    /// Puts everything into `headers`, in place of whatever is there under these names.
    pub fn apply(self, headers: &mut HeaderMap) {
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::SecretValue;
    use zeroize::Zeroizing;

    fn slots(list: &[(&'static str, &str)]) -> Slots {
        let parse = |(name, text): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                Template::parse_header(text).unwrap(),
            )
        };
        Slots::new(list.iter().map(parse).collect())
    }

    fn secrets(list: &[(&str, &str)]) -> SecretSet {
        list.iter().fold(SecretSet::empty(), |set, (name, value)| {
            let value = SecretValue::new(Zeroizing::new(value.as_bytes().to_vec()))
                .ok()
                .unwrap();
            set.with(&SecretName::parse(name).unwrap(), Some(&value))
        })
    }

    #[test]
    fn a_plan_replaces_what_is_there_and_hides_its_values() {
        let slots = slots(&[("authorization", "Basic ${base64(U:P)}"), ("x-site", "eu")]);
        let mut headers = HeaderMap::new();
        headers.append("authorization", "Bearer client".parse().unwrap());
        headers.append("authorization", "Bearer again".parse().unwrap());
        assert_eq!(slots.replaced(&headers), 1);
        let plan = slots
            .plan(&secrets(&[("U", "a"), ("P", "b")]))
            .ok()
            .unwrap();
        plan.apply(&mut headers);
        let values: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(values, ["Basic YTpi"]);
        assert!(values[0].is_sensitive());
        assert_eq!(headers["x-site"], "eu");
    }

    #[test]
    fn everything_missing_is_named_at_once() {
        let slots = slots(&[("authorization", "${A} ${B}"), ("x-c", "${C}${B}")]);
        let result = slots.plan(&secrets(&[("A", "1")]));
        let names = ["B", "C"].map(|n| SecretName::parse(n).unwrap()).to_vec();
        assert_eq!(result.err(), Some(Unplannable::Missing(names)));
    }

    #[test]
    fn a_value_no_header_can_carry_stops_the_request() {
        let result = slots(&[("x-a", "${A}")]).plan(&secrets(&[("A", "a\r\nx-evil: 1")]));
        assert_eq!(
            result.err(),
            Some(Unplannable::Unfit(HeaderName::from_static("x-a")))
        );
    }
}
