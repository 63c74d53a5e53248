# apache: Apache as an origin beside lib.sh's nginx. Source it behind lib.sh.
# shellcheck shell=bash

# apache_conf ADDRESS:PORT: as $T/apache.conf. It serves $T/www, compresses what is below /packed, which
# it says in chunks, answers 204 below /204, and stores what is put into /dav in $T/dav. It speaks HTTP/2
# in the clear, too, and offers it in its answers; and has the kernel wait for who connects to speak
# (TCP_DEFER_ACCEPT), as it does by default.
apache_conf() {
    local module
    mkdir -p "$T/www" "$T/dav" "$T/dav.lock"
    chmod 1777 "$T/dav" "$T/dav.lock"
    for module in mpm_event authz_core alias dav dav_fs deflate http2; do
        echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
    done >"$T/apache.conf"
    cat >>"$T/apache.conf" <<CONF
ServerName origin.test
ServerRoot $T
Listen $1
User nobody
Group nogroup
PidFile $T/apache.pid
ErrorLog $T/apache.log
DavLockDB $T/dav.lock/db
LogFormat "%r %>s" all
CustomLog $T/apache.access all
StartServers 1
MaxKeepAliveRequests 0
Protocols h2c http/1.1
DocumentRoot $T/www
Alias /packed/ $T/www/
<Location /packed>
    SetOutputFilter DEFLATE
</Location>
Redirect 204 /204
Alias /dav/ $T/dav/
<Location /dav>
    DAV On
</Location>
CONF
}
