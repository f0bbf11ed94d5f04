using Blkring.AbiTools;
using Blkring.AbiTools.Import;

namespace Blkring.AbiImport.Tests;

/// <summary>Headers to import: Xen's installed ones, and small ones that a test writes.</summary>
internal sealed class Headers : IDisposable
{
    public const string Installed = "/usr/include/xen";

    private readonly string _folder = Directory.CreateTempSubdirectory("blkring-headers-").FullName;

    public static string Io(string name) => Path.Combine(Installed, "io", name);

    /// <summary>Writes a header and returns its path.</summary>
    public string Write(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return path;
    }

    /// <summary>
    /// The installed headers as they lie in Xen's source tree; returns the path of xen/include/public.
    /// </summary>
    public string SourceTree()
    {
        string tree = Path.Combine(_folder, "xen", "include", "public");
        foreach (string file in Directory.GetFiles(Installed, "*.h", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(tree, Path.GetRelativePath(Installed, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
        return tree;
    }

    /// <summary>The spec of one header.</summary>
    public static string Import(string header) => HeaderImport.Import(new ImportOptions { Headers = [header] });

    /// <summary>What the import says of a header that it refuses.</summary>
    public string Refusal(string name, string text)
    {
        string path = Write(name, text);
        string message = Assert.Throws<HeaderImportException>(() => Import(path)).Message;
        Assert.DoesNotContain('\n', message);
        return message.Replace(_folder + "/", "", StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
