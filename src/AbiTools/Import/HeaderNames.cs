using Blkring.Generators.Model;

namespace Blkring.AbiTools.Import;

/// <summary>Where headers are and what they are called in a spec.</summary>
internal static class HeaderNames
{
    // How a header's path ends where it is installed, and where it lies in Xen's source tree.
    private static readonly string[] Roots = ["/xen/include/public/", "/include/public/", "/include/xen/"];

    /// <summary>xen/io/blkif.h, wherever the file is: the name by which C includes it once installed.</summary>
    public static string Of(string path)
    {
        string full = Path.GetFullPath(path);
        foreach (string root in Roots)
        {
            int at = full.LastIndexOf(root, StringComparison.Ordinal);
            if (at >= 0)
                return "xen/" + full[(at + root.Length)..];
        }
        // A copy of the tree under another name: what lies beside io/ring.h is Xen's all the same.
        if (File.Exists(Path.Combine(Path.GetDirectoryName(full) ?? "", "io", "ring.h")))
            return "xen/" + Path.GetFileName(full);
        string folder = Path.GetFileName(Path.GetDirectoryName(full)) ?? "";
        return folder == "io" ? "xen/io/" + Path.GetFileName(full) : Path.GetFileName(full);
    }

    /// <summary>
    /// The file of the header named so in the tree that <paramref name="neighbour"/> lies in; null when that has none.
    /// </summary>
    public static string? Beside(string neighbour, string name)
    {
        string full = Path.GetFullPath(neighbour);
        string own = Of(full);
        if (!own.StartsWith("xen/", StringComparison.Ordinal))
            return null;
        string file = full[..^(own.Length - "xen/".Length)] + name["xen/".Length..];
        return File.Exists(file) ? file : null;
    }

    /// <summary>
    /// A protocol is named as its header, and as a C name: 9pfs.h is xen_9pfs, as its own types are called, and
    /// foreign/x86_64.h is xen_x86_64, told from the ABI.
    /// </summary>
    public static string Protocol(string path)
    {
        string name = new([
            .. Path.GetFileNameWithoutExtension(path).Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'),
        ]);
        return CName.IsIdentifier(name) && !TargetMerge.AbiNames.Contains(name) ? name : "xen_" + name;
    }
}
