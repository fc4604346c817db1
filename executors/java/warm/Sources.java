package flotilla;

import com.sun.tools.javac.api.ClientCodeWrapper.Trusted;
import com.sun.tools.javac.file.CacheFSInfo;
import com.sun.tools.javac.file.JavacFileManager;
import com.sun.tools.javac.util.Context;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.tools.FileObject;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardLocation;

/**
 * The files of one compile: the sources that were sent, the classes that come of them, and those of
 * the JDK. To javac the sources are what it finds in its current directory, which is the class path.
 * It is one of javac's own file managers, without a wrapper: to others javac does not tell what is
 * internal to the JDK.
 */
@Trusted
final class Sources extends JavacFileManager {
    private final List<Source> sources;
    private final Map<String, ByteArrayOutputStream> written = new LinkedHashMap<>();

    Sources(List<Source> sources) throws IOException {
        super(context(), false, StandardCharsets.UTF_8);
        this.sources = sources;
        setLocation(StandardLocation.CLASS_PATH, List.<File>of());
    }

    private static Context context() {
        Context context = new Context();
        CacheFSInfo.preRegister(context);
        return context;
    }

    /** The classes so far, by their path. */
    Map<String, byte[]> classes() {
        Map<String, byte[]> classes = new LinkedHashMap<>();
        written.forEach((path, bytes) -> classes.put(path, bytes.toByteArray()));
        return classes;
    }

    @Override
    public boolean hasLocation(Location location) {
        return location == StandardLocation.CLASS_OUTPUT || super.hasLocation(location);
    }

    @Override
    public Collection<Path> getLocationAsPaths(Location location) {
        if (location == StandardLocation.CLASS_OUTPUT) {
            // Looked at for what would make it a module's; nothing is there, or ever written.
            return List.of(Path.of(""));
        }
        Collection<? extends Path> paths = super.getLocationAsPaths(location);
        return paths == null ? null : new ArrayList<>(paths);
    }

    @Override
    public Iterable<JavaFileObject> list(
            Location location, String inPackage, Set<JavaFileObject.Kind> kinds, boolean recurse)
            throws IOException {
        if (location == StandardLocation.CLASS_OUTPUT) {
            return List.of();
        }
        if (location != StandardLocation.CLASS_PATH) {
            return super.list(location, inPackage, kinds, recurse);
        }
        List<JavaFileObject> found = new ArrayList<>();
        if (kinds.contains(JavaFileObject.Kind.SOURCE)) {
            sources.stream()
                    .filter(it -> it.isIn(inPackage, recurse))
                    .map(Source::asFound)
                    .forEach(found::add);
        }
        return found;
    }

    @Override
    public String inferBinaryName(Location location, JavaFileObject file) {
        return file instanceof Source ? ((Source) file).binaryName() : super.inferBinaryName(location, file);
    }

    @Override
    public boolean isSameFile(FileObject a, FileObject b) {
        return a.equals(b) || (!(a instanceof Memory) && !(b instanceof Memory) && super.isSameFile(a, b));
    }

    @Override
    public boolean contains(Location location, FileObject file) throws IOException {
        return file instanceof Memory ? location == StandardLocation.CLASS_PATH : super.contains(location, file);
    }

    @Override
    public JavaFileObject getJavaFileForInput(Location location, String name, JavaFileObject.Kind kind)
            throws IOException {
        if (location == StandardLocation.CLASS_OUTPUT) {
            return null;
        }
        if (location != StandardLocation.CLASS_PATH) {
            return super.getJavaFileForInput(location, name, kind);
        }
        return sources.stream()
                .filter(it -> it.getKind() == kind && it.binaryName().equals(name))
                .map(Source::asFound)
                .findFirst()
                .orElse(null);
    }

    @Override
    public JavaFileObject getJavaFileForOutput(
            Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
        String path = name.replace('.', '/') + kind.extension;
        return new Output(path, kind, written);
    }

    @Override
    public FileObject getFileForInput(Location location, String inPackage, String name) {
        return null;
    }

    @Override
    public FileObject getFileForOutput(Location location, String inPackage, String name, FileObject sibling)
            throws IOException {
        throw new IOException("only classes are written");
    }

    /** A file that is on no disk. Messages name it as whoever sent it does. */
    private static class Memory extends SimpleJavaFileObject {
        private final String path;

        Memory(String path, Kind kind) {
            super(uri(path), kind);
            this.path = path;
        }

        @Override
        public String getName() {
            return path;
        }

        private static URI uri(String path) {
            try {
                return new URI("memory", null, "/" + path, null);
            } catch (URISyntaxException impossible) {
                throw new IllegalArgumentException(impossible);
            }
        }
    }

    /** A class that comes of them. */
    @Trusted
    private static final class Output extends Memory {
        private final Map<String, ByteArrayOutputStream> written;

        Output(String path, Kind kind, Map<String, ByteArrayOutputStream> written) {
            super(path, kind);
            this.written = written;
        }

        @Override
        public OutputStream openOutputStream() {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            written.put(getName(), bytes);
            return bytes;
        }
    }

    /** A source that was sent. */
    @Trusted
    static final class Source extends Memory {
        private final String text;
        private final String place;

        Source(String path, String text) {
            super(path, Kind.SOURCE);
            this.text = text;
            this.place = path.startsWith("./") ? path.substring(2) : path;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }

        /** The same as javac finds it by itself, below the current directory. */
        Source asFound() {
            return new Source("./" + place, text);
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Source && ((Source) other).place.equals(place);
        }

        @Override
        public int hashCode() {
            return place.hashCode();
        }

        String binaryName() {
            return place.substring(0, place.length() - Kind.SOURCE.extension.length()).replace('/', '.');
        }

        boolean isIn(String inPackage, boolean orBelow) {
            int end = place.lastIndexOf('/');
            String own = end < 0 ? "" : place.substring(0, end).replace('/', '.');
            return own.equals(inPackage)
                    || (orBelow && (inPackage.isEmpty() || own.startsWith(inPackage + ".")));
        }
    }
}
