#!/usr/bin/env escript
%% get.erl URL: prints what is at URL.
main([Url]) ->
    logger:set_primary_config(level, error),
    {ok, _} = application:ensure_all_started(ssl),
    {ok, _} = application:ensure_all_started(inets),
    Roots = public_key:cacerts_get(),
    Verify = {customize_hostname_check, [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]},
    Ssl = [{verify, verify_peer}, {cacerts, Roots}, Verify],
    case httpc:request(get, {Url, []}, [{ssl, Ssl}], [{body_format, binary}]) of
        {ok, {_, _, Body}} -> file:write(standard_io, Body);
        {error, Reason} -> io:format(standard_error, "~p~n", [Reason]), halt(1)
    end.
