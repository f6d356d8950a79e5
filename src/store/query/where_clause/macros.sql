-- Whether an address or a network, as text, lies in one of the networks.
CREATE OR REPLACE TEMP MACRO address_number(a) AS CASE WHEN contains(a, ':')
  THEN list_reduce(list_transform(
    list_filter(string_split(split_part(a, '::', 1), ':'), lambda g: g <> '')
    || list_resize([]::VARCHAR[], CASE WHEN contains(a, '::') THEN 8
       - len(list_filter(string_split(split_part(a, '::', 1), ':'), lambda g: g <> ''))
       - len(list_filter(string_split(split_part(a, '::', 2), ':'), lambda g: g <> '')) ELSE 0 END, '0')
    || list_filter(string_split(split_part(a, '::', 2), ':'), lambda g: g <> ''),
    lambda g: ('0x' || g)::UINTEGER::UHUGEINT), lambda x, y: x * 65536::UHUGEINT + y)
  ELSE list_reduce(list_transform(string_split(a, '.'), lambda g: g::UHUGEINT), lambda x, y: x * 256::UHUGEINT + y) END;
CREATE OR REPLACE TEMP MACRO in_network(a, n) AS contains(a, ':') = contains(n, ':')
  AND coalesce(TRY_CAST(split_part(a, '/', 2) AS INT), 128) >= split_part(n, '/', 2)::INT
  AND address_number(split_part(a, '/', 1)) >> (CASE WHEN contains(n, ':') THEN 128 ELSE 32 END - split_part(n, '/', 2)::INT)::UHUGEINT
    = address_number(split_part(n, '/', 1)) >> (CASE WHEN contains(n, ':') THEN 128 ELSE 32 END - split_part(n, '/', 2)::INT)::UHUGEINT;
CREATE OR REPLACE TEMP MACRO in_networks(a, nets) AS len(list_filter(nets, lambda n: in_network(a, n))) > 0;
