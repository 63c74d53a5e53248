<?php // get.php WAY URL: prints what is at URL. WAY: streams or curl.
[, $way, $url] = $argv;
if ($way == 'curl') {
    $handle = curl_init($url);
    if (!curl_exec($handle)) {
        fwrite(STDERR, curl_error($handle) . "\n");
        exit(1);
    }
} else {
    exit(readfile($url) === false ? 1 : 0);
}
