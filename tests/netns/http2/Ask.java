// Ask UPLOAD NAME=URL...: a client by java.net.http, see ask.sh for what it prints.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.security.MessageDigest;

public class Ask {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    private static void ask(String name, HttpRequest request) throws Exception {
        HttpResponse<byte[]> answer = CLIENT.send(request, HttpResponse.BodyHandlers.ofByteArray());
        byte[] hash = MessageDigest.getInstance("SHA-256").digest(answer.body());
        StringBuilder hex = new StringBuilder();
        for (int i = 0; i < 8; i++)
            hex.append(String.format("%02x", hash[i]));
        System.out.println(String.join(" ", name, request.method(), "" + answer.statusCode(), "" + answer.version(),
                                       "" + answer.body().length, hex));
    }

    public static void main(String[] args) throws Exception {
        for (int i = 1; i < args.length; i++) {
            String[] server = args[i].split("=", 2);
            ask(server[0], HttpRequest.newBuilder(URI.create(server[1] + "/a?java")).build());
            ask(server[0], HttpRequest.newBuilder(URI.create(server[1] + "/post/java"))
                               .POST(HttpRequest.BodyPublishers.ofFile(Path.of(args[0]))).build());
        }
    }
}
