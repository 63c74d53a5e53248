// Get WAY URL: prints what is at URL. WAY: client (HttpClient) or connection (URLConnection).
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Get {
    public static void main(String[] args) throws Exception {
        URI uri = URI.create(args[1]);
        try {
            byte[] body;
            if (args[0].equals("client"))
                body = HttpClient.newHttpClient().send(HttpRequest.newBuilder(uri).build(),
                                                       HttpResponse.BodyHandlers.ofByteArray()).body();
            else
                body = uri.toURL().openStream().readAllBytes();
            System.out.write(body);
            System.out.flush();
        } catch (java.io.IOException error) {
            System.err.println(error);
            System.exit(1);
        }
    }
}
