//! The slots of one server.

use std::collections::BTreeSet;
use std::fmt;

use http::{HeaderMap, HeaderName};

use super::argument::{ArgumentNameError, ArgumentSlot, Arguments};
use super::query::{QueryNameError, query_name, query_names};
use super::{HeaderNameError, Template, TemplateError, header_name};
use crate::names::SecretName;

/// Where a server expects secrets, as the operator declared.
#[derive(Default)]
pub struct Slots {
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) query: Vec<(String, Template)>,
    pub(super) environment: Vec<(String, Template)>,
    pub(super) arguments: Arguments,
}

/// What a request is, as far as slots care.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The tools it calls; several in a batch.
    pub tools: &'a [&'a str],
    /// Header, query and environment slots may be left out when their secrets are missing.
    pub optional: bool,
}

/// Where a slot puts its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A header of every request.
    Header(HeaderName),
    /// A parameter of every request's query.
    Query(String),
    /// An argument of calls of tools.
    Argument(String),
    /// A variable of a child process's environment.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Query(name) => write!(f, "query parameter `{name}`"),
            Self::Argument(name) => write!(f, "argument `{name}`"),
            Self::Variable(name) => write!(f, "variable `{name}`"),
        }
    }
}

/// One slot, to be looked at.
pub struct Slot<'s> {
    /// Where it puts its secret.
    pub place: Place,
    /// What it puts there.
    pub template: &'s Template,
    /// The tools an argument is for; `None` for every tool, and for what is no argument.
    pub tools: Option<&'s BTreeSet<String>>,
}

/// Why a text is not a slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// The header is none a slot may set.
    #[error("header `{0}`: {1}")]
    Header(String, HeaderNameError),
    /// No query parameter has this name.
    #[error("query parameter `{0}`: {1}")]
    Query(String, QueryNameError),
    /// No argument has this name.
    #[error("argument `{0}`: {1}")]
    Argument(String, ArgumentNameError),
    /// The value is not a template. The error shows nothing of it.
    #[error("{0}: {1}")]
    Template(Place, TemplateError),
    /// The place has a slot already.
    #[error("{0} stands there twice; remove one")]
    Twice(Place),
}

impl Slots {
    /// Parses the header slots of a server: pairs of a header and a template such as
    /// `Bearer ${GITHUB_TOKEN}`.
    ///
    /// # Errors
    /// The first pair that is none.
    pub fn parse<'t>(
        pairs: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Result<Self, SlotError> {
        let mut slots = Self::default();
        for (name, template) in pairs {
            let name = header_name(name).map_err(|e| SlotError::Header(name.to_owned(), e))?;
            let place = Place::Header(name.clone());
            if slots.has_header(name.as_str()) {
                return Err(SlotError::Twice(place));
            }
            let template = Template::parse_header(template)
                .map_err(|error| SlotError::Template(place, error))?;
            slots.headers.push((name, template));
        }
        Ok(slots)
    }

    /// Adds the query parameter `name`.
    ///
    /// # Errors
    /// When the name or the template is none, or has a slot already.
    pub fn with_query(mut self, name: &str, template: &str) -> Result<Self, SlotError> {
        let name = query_name(name).map_err(|e| SlotError::Query(name.to_owned(), e))?;
        let place = Place::Query(name.clone());
        if self.query.iter().any(|(other, _)| *other == name) {
            return Err(SlotError::Twice(place));
        }
        let template = Template::parse(template).map_err(|e| SlotError::Template(place, e))?;
        self.query.push((name, template));
        Ok(self)
    }

    /// Adds the argument `name` of `tools`, or of every tool.
    ///
    /// # Errors
    /// When the name or the template is none, or has a slot already, or all arguments are set
    /// ([`Arguments::All`]).
    pub fn with_argument(
        mut self,
        name: &str,
        template: &str,
        tools: Option<BTreeSet<String>>,
    ) -> Result<Self, SlotError> {
        let place = Place::Argument(name.to_owned());
        let Arguments::Named(slots) = &mut self.arguments else {
            return Err(SlotError::Twice(place));
        };
        if slots
            .iter()
            .any(|slot| slot.name.eq_ignore_ascii_case(name))
        {
            return Err(SlotError::Twice(place));
        }
        let template = Template::parse(template).map_err(|e| SlotError::Template(place, e))?;
        let slot = ArgumentSlot::new(name, template, tools);
        slots.push(slot.map_err(|e| SlotError::Argument(name.to_owned(), e))?);
        Ok(self)
    }

    /// The slots of a server, already parsed.
    #[must_use]
    pub fn new(
        headers: Vec<(HeaderName, Template)>,
        query: Vec<(String, Template)>,
        arguments: Arguments,
    ) -> Self {
        Self {
            headers,
            query,
            environment: Vec::new(),
            arguments,
        }
    }

    /// The same, with variables of the environment of a child process, their names checked by
    /// [`variable_name`](super::variable_name).
    #[must_use]
    pub fn with_environment(self, environment: Vec<(String, Template)>) -> Self {
        Self {
            environment,
            ..self
        }
    }

    /// Every slot, headers first. [`Arguments::All`] is none of them: see [`Slots::merges_all`].
    pub fn iter(&self) -> impl Iterator<Item = Slot<'_>> {
        let everywhere = |place, template| Slot {
            place,
            template,
            tools: None,
        };
        let headers = self.headers.iter();
        let headers = headers.map(move |(name, t)| everywhere(Place::Header(name.clone()), t));
        let query = self.query.iter();
        let query = query.map(move |(name, t)| everywhere(Place::Query(name.clone()), t));
        let variables = self.environment.iter();
        let variables =
            variables.map(move |(name, t)| everywhere(Place::Variable(name.clone()), t));
        let arguments = self.named().iter().map(|slot| Slot {
            place: Place::Argument(slot.name.clone()),
            template: &slot.template,
            tools: slot.tools(),
        });
        headers.chain(query).chain(variables).chain(arguments)
    }

    /// Whether the secret `name` goes anywhere.
    #[must_use]
    pub fn uses(&self, name: &SecretName) -> bool {
        self.merges_all() || self.secret_names().contains(name)
    }

    /// Whether the secret `name` goes into a header, which cannot carry every text.
    #[must_use]
    pub fn uses_in_header(&self, name: &SecretName) -> bool {
        let mut secrets = self
            .headers
            .iter()
            .flat_map(|(_, template)| template.secrets());
        secrets.any(|used| used == name)
    }

    /// Whether every secret of the user becomes an argument under its own name.
    #[must_use]
    pub fn merges_all(&self) -> bool {
        matches!(self.arguments, Arguments::All)
    }

    /// Whether any request needs a secret at all.
    #[must_use]
    pub fn need_secrets(&self) -> bool {
        self.merges_all() || self.templates().any(|template| !template.is_constant())
    }

    /// Whether this request needs one. Where all secrets become arguments every request does: their
    /// names must be hidden from any answer.
    #[must_use]
    pub fn needs_secrets(&self, request: &Request<'_>) -> bool {
        let mut needed = self.filled_for(request);
        self.merges_all() || needed.any(|template| !template.is_constant())
    }

    /// The names of the secrets that declared slots put into this request, each once.
    #[must_use]
    pub fn secrets_of(&self, request: &Request<'_>) -> Vec<&SecretName> {
        let mut names = Vec::new();
        for template in self.filled_for(request) {
            names.extend(template.secrets());
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    fn filled_for<'s>(&'s self, request: &Request<'_>) -> impl Iterator<Item = &'s Template> {
        let called = move |slot: &&ArgumentSlot| request.tools.iter().any(|tool| slot.serves(tool));
        let arguments = self.named().iter().filter(called);
        self.everywhere()
            .chain(arguments.map(|slot| &slot.template))
    }

    /// The names of all secrets the slots use, each once.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<&SecretName> {
        self.templates().flat_map(Template::secrets).collect()
    }

    /// Whether a slot sets this header.
    #[must_use]
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(slot, _)| slot == name)
    }

    /// Whether any argument slot is declared.
    #[must_use]
    pub fn have_arguments(&self) -> bool {
        self.merges_all() || !self.named().is_empty()
    }

    /// The arguments declared slots set in calls of `tool`.
    pub fn arguments_of<'s>(&'s self, tool: &'s str) -> impl Iterator<Item = &'s str> {
        let slots = self.named().iter().filter(move |slot| slot.serves(tool));
        slots.map(|slot| slot.name.as_str())
    }

    /// How many of the client's headers and query parameters the slots replace, but for the headers `besides`.
    #[must_use]
    pub fn replaced(
        &self,
        client: &HeaderMap,
        query: Option<&str>,
        besides: &[HeaderName],
    ) -> usize {
        let counts = |name| !besides.contains(name) && client.contains_key(name);
        let headers = self.headers.iter().filter(|(name, _)| counts(name));
        let named = |name: &str| query.is_some_and(|query| query_names(query, name));
        headers.count() + self.query.iter().filter(|(name, _)| named(name)).count()
    }

    /// Whether a child process's environment differs from user to user.
    #[must_use]
    pub fn environment_needs_secrets(&self) -> bool {
        let mut variables = self.environment.iter();
        variables.any(|(_, template)| !template.is_constant())
    }

    /// Those of every request: its headers and query, and what its child was started with.
    fn everywhere(&self) -> impl Iterator<Item = &Template> {
        let headers = self.headers.iter().map(|(_, template)| template);
        let texts = self.query.iter().chain(&self.environment);
        headers.chain(texts.map(|(_, template)| template))
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let arguments = self.named().iter().map(|slot| &slot.template);
        self.everywhere().chain(arguments)
    }

    fn named(&self) -> &[ArgumentSlot] {
        match &self.arguments {
            Arguments::Named(slots) => slots,
            Arguments::All => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::{Planned, Unplannable};
    use crate::vault::{SecretSet, SecretValue};
    use zeroize::Zeroizing;

    fn slots(list: &[(&'static str, &str)]) -> Slots {
        let parse = |(name, text): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                Template::parse_header(text).unwrap(),
            )
        };
        Slots::new(
            list.iter().map(parse).collect(),
            Vec::new(),
            Arguments::default(),
        )
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
    fn pairs_are_slots_or_refused_with_the_header() {
        let parsed = Slots::parse([("X-A", "${A}"), ("Authorization", "Bearer ${B}")]).unwrap();
        assert!(parsed.has_header("x-a") && parsed.has_header("authorization"));
        for (pairs, says) in [
            ([("X-A", "${A}"), ("x-a", "${B}")], "twice"),
            ([("X-A", "${A}"), ("Host", "${B}")], "Host"),
            ([("X-A", "${A}"), ("X B", "${B}")], "X B"),
            ([("X-A", "${A}"), ("X-B", "${B")], "x-b"),
        ] {
            let error = Slots::parse(pairs).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_plan_replaces_what_is_there_and_hides_its_values() {
        let slots = slots(&[("authorization", "Basic ${base64(U:P)}"), ("x-site", "eu")]);
        let mut headers = HeaderMap::new();
        headers.append("authorization", "Bearer client".parse().unwrap());
        headers.append("authorization", "Bearer again".parse().unwrap());
        assert_eq!(slots.replaced(&headers, None, &[]), 1);
        assert_eq!(
            slots.replaced(&headers, None, &[http::header::AUTHORIZATION]),
            0
        );
        let values = secrets(&[("U", "a"), ("P", "b")]);
        let mut plan = slots.plan(&values, &Request::default()).ok().unwrap();
        plan.apply(&mut headers);
        let values: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(values, ["Basic YTpi"]);
        assert!(values[0].is_sensitive());
        assert_eq!(headers["x-site"], "eu");
    }

    #[test]
    fn everything_missing_is_named_at_once() {
        let slots = slots(&[("authorization", "${A} ${B}"), ("x-c", "${C}${B}")]);
        let result = slots.plan(&secrets(&[("A", "1")]), &Request::default());
        let names = ["B", "C"].map(|n| SecretName::parse(n).unwrap()).to_vec();
        assert_eq!(result.err(), Some(Unplannable::Missing(names)));
    }

    #[test]
    fn a_value_no_header_can_carry_stops_the_request() {
        let result = slots(&[("x-a", "${A}")]);
        let result = result.plan(&secrets(&[("A", "a\r\nx-evil: 1")]), &Request::default());
        assert_eq!(
            result.err(),
            Some(Unplannable::Unfit(Place::Header(HeaderName::from_static(
                "x-a"
            ))))
        );
    }

    fn argument_slots() -> Slots {
        let tools = |list: &[&str]| Some(list.iter().map(|t| (*t).to_owned()).collect());
        Slots::parse([("x-site", "${SITE}")])
            .unwrap()
            .with_query("key", "${KEY}")
            .unwrap()
            .with_argument("api_token", "t-${TOKEN}", None)
            .unwrap()
            .with_argument("admin", "${ADMIN}", tools(&["drop", "wipe"]))
            .unwrap()
    }

    #[test]
    fn a_request_needs_the_secrets_of_the_tools_it_calls_and_no_others() {
        let slots = argument_slots();
        let all = [("SITE", "s"), ("KEY", "k&"), ("TOKEN", "1")];
        let planned = |tools: &[&str]| {
            let request = Request {
                tools,
                optional: false,
            };
            let values = secrets(&all);
            let plan = slots.plan(&values, &request);
            plan.map(|plan| {
                let list = tools.first().map(|tool| plan.arguments(tool));
                let pair = |p: &Planned<'_>| format!("{}={}", p.name(), p.expose_value());
                (
                    plan.expose_query().to_owned(),
                    list.into_iter().flatten().map(pair).collect::<Vec<_>>(),
                )
            })
        };
        assert_eq!(planned(&[]).ok().unwrap(), ("key=k%26".into(), vec![]));
        assert_eq!(planned(&["read"]).ok().unwrap().1, ["api_token=t-1"]);
        let admin = vec![SecretName::parse("ADMIN").unwrap()];
        assert_eq!(
            planned(&["drop"]).err(),
            Some(Unplannable::Missing(admin.clone()))
        );
        assert_eq!(
            planned(&["read", "wipe"]).err(),
            Some(Unplannable::Missing(admin))
        );
        assert_eq!(
            slots.arguments_of("read").collect::<Vec<_>>(),
            ["api_token"]
        );
    }

    #[test]
    fn what_is_optional_is_left_out_only_where_it_is_missing() {
        let slots = argument_slots();
        let request = Request {
            tools: &[],
            optional: true,
        };
        let values = secrets(&[("KEY", "k")]);
        let mut plan = slots.plan(&values, &request).ok().unwrap();
        let mut headers = HeaderMap::new();
        plan.apply(&mut headers);
        assert!(headers.is_empty());
        assert_eq!(plan.expose_query(), "key=k");
        // An argument is never optional: only a call has one.
        let request = Request {
            tools: &["read"],
            optional: true,
        };
        assert!(slots.plan(&values, &request).is_err());
    }

    #[test]
    fn all_secrets_become_arguments_of_every_tool() {
        let slots = Slots::new(Vec::new(), Vec::new(), Arguments::All);
        let values = secrets(&[("A", "1"), ("B", "é\n")]);
        let request = Request {
            tools: &["any"],
            optional: false,
        };
        let plan = slots.plan(&values, &request).ok().unwrap();
        let pairs: Vec<_> = plan
            .arguments("any")
            .map(|p| (p.name(), p.expose_value()))
            .collect();
        assert_eq!(pairs, [("A", "1"), ("B", "é\n")]);
        assert!(
            slots.needs_secrets(&Request::default()),
            "to hide their names"
        );
    }

    #[test]
    fn no_place_has_two_slots() {
        let twice = |result: Result<Slots, SlotError>| {
            let error = result.err().unwrap().to_string();
            assert!(error.contains("twice"), "{error}");
        };
        twice(argument_slots().with_query("key", "x"));
        twice(argument_slots().with_argument("API_Token", "x", None));
        assert!(argument_slots().with_argument("", "x", None).is_err());
        assert!(argument_slots().with_query("x", "${").is_err());
    }
}
