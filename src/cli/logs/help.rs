//! What `--help` of the commands says below the arguments: the filter language and examples.
//!
//! Text only. Bound: what fits a screen or two.

/// The language, for the help of every command that searches.
macro_rules! filter_help {
    () => {
        "\
Filter:
  Terms are field, operator, value; all must hold. Put a filter between single
  quotes: the shell takes > and < for itself.
    status>=500          = != > >= < <=   numbers, 200ms, 1MiB, times
    status=404,410       a list: one of them
    path~^/api           ~ !~             regular expression
    path:admin           :                contains (text and lists); in the network
                                          (addresses, net); else the same as =
    error:*              the field is there
    -status=200          a minus turns a term round; != also holds where the
                         field is absent
    since:2h             arrived then or later: so long ago, or a time in UTC
    until:2026-11-22T10:00
    path=\"/with space\"   double quotes around a value with spaces or commas
  Only finished requests are searched unless the filter names `kind`.

Short names:
  time = start_ts                            id = request.id
  status = http.response.status_code         error = error.type
  method = http.request.method               upstream = upstream.address
  host = url.domain                          consent = consent.decision
  path = url.path                            cookie = cookie.names
  referer = http.request.header.referer      stripped = cookies.stripped
  duration = event.duration                  blocked = set_cookie.blocked
  ttfb = event.time_to_first_byte            language = accept_language.primary
  bytes = http.response.body.size            kind = record.kind
  action = risk.action                       browser = user_agent.family
  bot = bot.category                         os = os.family
  device = device.class
 with --purpose security:
  ip = client.address, net = client.net, visitor = visitor.tag
 with --purpose fraud:
  country = geo.country.iso_code, asn = as.number, risk = risk.level, signal = risk.signals
 with --purpose diagnostics:
  ua = user_agent.original
 `kelisim logs fields` lists every field."
    };
}

/// After the arguments of the command.
pub(super) const FILTER_HELP: &str = filter_help!();

/// After the arguments of the command.
pub(super) const QUERY_HELP: &str = concat!(
    filter_help!(),
    "

Examples:
  kelisim logs query 'status>=500 since:1h'
  kelisim logs query id=01936f2e-7c1b-7d3a-9f3e-2b1c4d5e6f70
  kelisim logs query --fields time,path,stripped 'stripped:_ga' -n 20
  kelisim logs query --purpose security --reason 'ticket 7' 'ip:10.0.0.0/8 -path:/health'
  kelisim logs query --format json 'consent=denied since:1d'
  kelisim logs query --as sql 'status>=500 path~^/api'"
);

/// After the arguments of the command.
pub(super) const TOP_HELP: &str = "\
Examples:
  kelisim logs top path
  kelisim logs top bot.name bot=ai-crawler
  kelisim logs top path --by p95 --min 100 since:1d
  kelisim logs top stripped --other
  kelisim logs top path --by visitors --purpose security --reason 'ticket 7'

Counts are exact. Beyond a million values, or 64 MiB of them, further ones are
counted together and shown as such. A 95th percentile is at most 2% too high;
programs get it in microseconds. The filter language is in
`kelisim logs query --help`.";

/// After the arguments of the command.
pub(super) const EXPORT_HELP: &str = "\
Examples:
  kelisim logs export --purpose support --basis contract --recipient 'the hoster' 'status>=500 since:1d'
  kelisim logs export --purpose security --reason 'order 12' --basis law --recipient 'the court' \\
      --addresses full --format csv -o court.csv since:2026-11-01 until:2026-12-01

What is given, to whom and on what ground is in the audit log before the first
record is written: `kelisim logs audit` shows it. The oldest record comes
first.

With --basis consent a record is given when consent.decision is granted, unless
the log of receipts says that the consent to advertising was withdrawn after
that request or by it, even if it was given again later. Consent of another
banner may leave no receipt: such a record is judged by itself alone.

The filter language is in `kelisim logs query --help`.";

/// After the arguments of the command.
pub(super) const SQL_HELP: &str = "\
Examples:
  kelisim logs sql 'SELECT url_path, count(*) n FROM records GROUP BY ALL ORDER BY n DESC LIMIT 20' since:1d
  kelisim logs sql --fields path,duration 'SELECT url_path, quantile_cont(event_duration, 0.95) FROM records GROUP BY 1'
  kelisim logs sql -i --purpose security --reason 'ticket 7' since:2h

The view `records` has the columns that the purpose opens, with _ for the dot in
their names: `kelisim logs fields` lists them. Times are UTC, durations are in
microseconds, addresses are text. Only finished requests are there unless the
filter names `kind`.

The rows of the asked time are handed to the duckdb program in files without a
name, which are gone with the command. DuckDB can reach nothing else: no file,
no network, no extension.
It comes with `pip install duckdb-cli`, or see duckdb.org. The statement is in
the audit log; under a purpose that opens sealed columns its literals are there
as keyed hashes. What is typed into the shell of -i is not in that log.

Exit code 2 also when DuckDB refuses the statement.";

/// After the arguments of the command.
pub(super) const HIST_HELP: &str = "\
Examples:
  kelisim logs hist ts --bucket 1m since:2h
  kelisim logs hist duration 'path~^/api since:1d'
  kelisim logs hist status --bucket 1 'status>=400'

The filter language is in `kelisim logs query --help`.";
