using System.Text;
using Blkring.Generators.Emit;
using Blkring.Generators.Layout;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Blkring.AbiTools.Layouts;

/// <summary>The C# that the generator makes of a spec, by its own emitters.</summary>
public static class GeneratedCSharp
{
    /// <summary>
    /// The generated files, each under its name. For a single struct, only its declarations.
    /// </summary>
    public static string Write(AbiSource source, AbiSelection selection)
    {
        StringBuilder text = new();
        foreach (
            GeneratedFile file in ProtocolEmitter.Emit(source.Layout).Where(f => IsOfAbi(f, source.Layout, selection))
        )
        {
            string content = selection.Struct is null ? file.Text : Declarations(file, source.Layout, selection.Struct);
            if (content.Length > 0)
                text.Append("// ").Append(file.HintName).Append('\n').Append(content).Append('\n');
        }
        return text.ToString();
    }

    /// <summary>A file of one ABI has the ABI's tag in its name; the others belong to all.</summary>
    private static bool IsOfAbi(GeneratedFile file, ProtocolLayout layout, AbiSelection selection)
    {
        string[] parts = file.HintName.Split('.');
        return layout.Abis.FirstOrDefault(abi => parts.Contains(abi.Tag)) is not { } owner
            || selection.HasAbi(owner.Name);
    }

    private static string Declarations(GeneratedFile file, ProtocolLayout layout, string cName)
    {
        // A spec without the struct has nothing to show; another spec has it.
        if (layout.Abis.SelectMany(abi => abi.Types).FirstOrDefault(t => t.CName == cName) is not { } type)
            return "";
        IEnumerable<string> found = CSharpSyntaxTree
            .ParseText(file.Text)
            .GetRoot()
            .DescendantNodes()
            .OfType<StructDeclarationSyntax>()
            .Where(s => s.Identifier.Text == type.Name)
            .Select(s => Outdent(s.GetLeadingTrivia().ToFullString() + s.WithoutTrivia().ToFullString()));
        return string.Concat(found);
    }

    /// <summary>Moves a declaration to the left margin.</summary>
    private static string Outdent(string declaration)
    {
        string[] lines = declaration.Trim('\n').Split('\n');
        int depth = lines[0].Length - lines[0].TrimStart().Length;
        return string.Concat(lines.Select(line => (line.Length > depth ? line[depth..] : line.TrimStart()) + "\n"));
    }
}
