//! The arguments of the attributes.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprRange, Ident, Lit, LitStr, RangeLimits, Result, Token};

const DEFAULT_RANKS: [usize; 4] = [1, 2, 3, 4];
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The variable that says how much is watched.
const WATCH: &str = "PHALANX_WATCH";

pub(crate) struct MainOptions {
    /// Path of the thread level, when one is given.
    pub(crate) threads: Option<TokenStream>,
}

impl MainOptions {
    pub(crate) fn parse(arguments: TokenStream) -> Result<MainOptions> {
        let mut options = MainOptions { threads: None };
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("threads") {
                options.threads = Some(threads(&meta)?);
                Ok(())
            } else {
                Err(meta.error("unknown option; there is `threads = \"multiple\"`"))
            }
        });
        parser.parse2(arguments)?;
        Ok(options)
    }
}

pub(crate) struct TestOptions {
    pub(crate) ranks: Vec<usize>,
    pub(crate) timeout: Duration,
    pub(crate) threads: TokenStream,
    pub(crate) environment: Vec<(String, LitStr)>,
}

impl TestOptions {
    pub(crate) fn parse(arguments: TokenStream) -> Result<TestOptions> {
        let mut options = TestOptions {
            ranks: DEFAULT_RANKS.into(),
            timeout: DEFAULT_TIMEOUT,
            threads: quote!(::phalanx::Threading::Funneled),
            environment: Vec::new(),
        };
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("ranks") {
                options.ranks = ranks(&meta.value()?.parse()?)?;
            } else if meta.path.is_ident("timeout") {
                options.timeout = timeout(&meta.value()?.parse()?)?;
            } else if meta.path.is_ident("threads") {
                options.threads = threads(&meta)?;
            } else if meta.path.is_ident("env") {
                options.environment.extend(environment(&meta)?);
            } else if meta.path.is_ident("strict") {
                let strict = LitStr::new("strict", meta.path.span());
                options.environment.push((WATCH.to_owned(), strict));
            } else {
                return Err(meta.error(
                    "unknown option; there are `ranks = [1, 2, 4]`, `timeout = \"30s\"`, \
                     `threads = \"multiple\"`, `strict` and `env(\"NAME\" = \"value\")`",
                ));
            }
            Ok(())
        });
        parser.parse2(arguments)?;
        Ok(options)
    }
}

fn threads(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    const ADVICE: &str = "expected \"single\", \"funneled\", \"serialized\" or \"multiple\"";
    let expression: Expr = meta.value()?.parse()?;
    let Expr::Lit(ExprLit { lit: Lit::Str(level), .. }) = &expression else {
        return Err(Error::new_spanned(expression, ADVICE));
    };
    Ok(match level.value().as_str() {
        "single" => quote!(::phalanx::Threading::Single),
        "funneled" => quote!(::phalanx::Threading::Funneled),
        "serialized" => quote!(::phalanx::Threading::Serialized),
        "multiple" => quote!(::phalanx::Threading::Multiple),
        _ => return Err(Error::new(level.span(), ADVICE)),
    })
}

/// `3`, `[1, 2, 4]`, `1..=4` or `1..5`.
fn ranks(expression: &Expr) -> Result<Vec<usize>> {
    let mut counts = Vec::new();
    match expression {
        Expr::Array(array) => {
            for element in &array.elems {
                let count = number_of_ranks(element)?;
                if counts.contains(&count) {
                    return Err(Error::new_spanned(
                        element,
                        "this number of ranks is listed twice",
                    ));
                }
                counts.push(count);
            }
        }
        Expr::Range(ExprRange { start: Some(start), limits, end: Some(end), .. }) => {
            let first = number_of_ranks(start)?;
            let last = number_of_ranks(end)?;
            match limits {
                RangeLimits::Closed(_) => counts.extend(first..=last),
                RangeLimits::HalfOpen(_) => counts.extend(first..last),
            }
        }
        _ => counts.push(number_of_ranks(expression)?),
    }
    if counts.is_empty() {
        return Err(Error::new_spanned(expression, "a test runs on at least one number of ranks"));
    }
    Ok(counts)
}

fn number_of_ranks(expression: &Expr) -> Result<usize> {
    let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = expression else {
        return Err(Error::new_spanned(
            expression,
            "expected numbers of ranks, written out because each names a test: `3`, `[1, 2, 4]` \
             or `1..=4`",
        ));
    };
    match number.base10_parse()? {
        0 => Err(Error::new(number.span(), "a job has at least 1 rank")),
        count => Ok(count),
    }
}

fn timeout(expression: &Expr) -> Result<Duration> {
    let wrong = || {
        let advice = "expected a time with its unit: \"500ms\", \"30s\" or \"2m\"";
        Error::new(expression.span(), advice)
    };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = expression else {
        return Err(wrong());
    };
    humantime::parse_duration(&text.value()).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}

fn environment(meta: &ParseNestedMeta<'_>) -> Result<Vec<(String, LitStr)>> {
    let content;
    syn::parenthesized!(content in meta.input);
    let variables = Punctuated::<Variable, Token![,]>::parse_terminated(&content)?;
    Ok(variables.into_iter().map(|variable| (variable.name, variable.value)).collect())
}

struct Variable {
    name: String,
    value: LitStr,
}

impl Parse for Variable {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = if input.peek(LitStr) {
            input.parse::<LitStr>()?.value()
        } else {
            input.parse::<Ident>()?.to_string()
        };
        input.parse::<Token![=]>()?;
        Ok(Variable { name, value: input.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<TestOptions> {
        TestOptions::parse(text.parse().unwrap())
    }

    fn message(text: &str) -> String {
        options(text).err().unwrap().to_string()
    }

    #[test]
    fn without_options_there_are_one_to_four_ranks_and_a_minute() {
        let options = options("").unwrap();
        assert_eq!(options.ranks, [1, 2, 3, 4]);
        assert_eq!(options.timeout, Duration::from_secs(60));
    }

    #[test]
    fn ranks_are_a_number_a_list_or_a_range() {
        assert_eq!(options("ranks = 3").unwrap().ranks, [3]);
        assert_eq!(options("ranks = [1, 2, 4]").unwrap().ranks, [1, 2, 4]);
        assert_eq!(options("ranks = 2..=4").unwrap().ranks, [2, 3, 4]);
        assert_eq!(options("ranks = 2..4").unwrap().ranks, [2, 3]);
    }

    #[test]
    fn times_have_units() {
        let timeout = |text: &str| options(&format!("timeout = \"{text}\"")).unwrap().timeout;
        assert_eq!(timeout("30s"), Duration::from_secs(30));
        assert_eq!(timeout("500ms"), Duration::from_millis(500));
        assert_eq!(timeout("2m"), Duration::from_secs(120));
        assert_eq!(timeout("1m 30s"), Duration::from_secs(90));
    }

    #[test]
    fn variables_are_named_by_a_text_or_a_word() {
        let options = options(r#"env("A" = "b", C = "d")"#).unwrap();
        let names: Vec<_> = options.environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["A", "C"]);
    }

    #[test]
    fn wrong_options_say_what_would_be_right() {
        assert!(message("ranks = 0").contains("at least 1 rank"));
        assert!(message("ranks = []").contains("at least one number"));
        assert!(message("ranks = 4..2").contains("at least one number"));
        assert!(message("ranks = [2, 2]").contains("twice"));
        assert!(message("ranks = N").contains("written out"));
        assert!(message("timeout = 30").contains("\"30s\""));
        assert!(message("timeout = \"30\"").contains("\"30s\""));
        assert!(message("timeout = \"0s\"").contains("\"30s\""));
        assert!(message("threads = \"many\"").contains("\"multiple\""));
        assert!(message("rank = 3").contains("`ranks = [1, 2, 4]`"));
    }
}
