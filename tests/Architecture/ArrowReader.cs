using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Mono.Cecil;
using Mono.Cecil.Cil;
using Mono.Cecil.Rocks;

namespace Blkring.Architecture.Tests;

/// <summary>One use of a room by another, with the first place where it was seen.</summary>
internal sealed record Arrow(string From, string To, string SeenIn);

/// <summary>
/// Reads which namespaces of our assemblies use which: from metadata and method bodies, and from the using directives
/// of the sources, because a constant or a reference in documentation leaves no trace in an assembly.
/// </summary>
internal static class ArrowReader
{
    private const string Ours = "Blkring";

    public static IReadOnlyList<Arrow> ReadAssemblies(IEnumerable<string> files)
    {
        Dictionary<(string, string), Arrow> arrows = [];
        List<TypeDefinition> types = [];
        foreach (string file in files)
            types.AddRange(ModuleDefinition.ReadModule(file).GetAllTypes());
        HashSet<string> known = [.. types.Select(type => type.FullName)];
        foreach (TypeDefinition type in types)
        {
            string from = NamespaceOf(type);
            foreach (TypeReference used in TypesUsedBy(type).SelectMany(Parts))
            {
                string to = NamespaceOf(used);
                if (from != to && IsOurs(from) && IsOurs(to) && known.Contains(used.GetElementType().FullName))
                    arrows.TryAdd((from, to), new Arrow(from, to, $"{type.FullName} uses {used.FullName}"));
            }
        }
        return [.. arrows.Values];
    }

    public static IEnumerable<Arrow> ReadUsings(string file)
    {
        CompilationUnitSyntax unit = CSharpSyntaxTree.ParseText(Repository.Read(file)).GetCompilationUnitRoot();
        string? home = unit.Members.OfType<BaseNamespaceDeclarationSyntax>().FirstOrDefault()?.Name.ToString();
        IEnumerable<UsingDirectiveSyntax> usings = unit.DescendantNodes().OfType<UsingDirectiveSyntax>();
        return from directive in usings
            let target = directive.Name?.ToString()
            where home is not null && target is not null && directive.StaticKeyword == default && IsOurs(target)
            select new Arrow(home!, target, $"{file}: using {target}");
    }

    private static bool IsOurs(string name) => name == Ours || name.StartsWith(Ours + ".", StringComparison.Ordinal);

    // A nested type, also one that the compiler made of a lambda, lives where its outermost type does.
    private static string NamespaceOf(TypeReference type)
    {
        while (type.DeclaringType is { } outer)
            type = outer;
        return type.Namespace;
    }

    private static IEnumerable<TypeReference> TypesUsedBy(TypeDefinition type)
    {
        if (type.BaseType is not null)
            yield return type.BaseType;
        foreach (InterfaceImplementation implementation in type.Interfaces)
            yield return implementation.InterfaceType;
        foreach (FieldDefinition field in type.Fields)
            yield return field.FieldType;
        IEnumerable<GenericParameter> parameters = type.GenericParameters.Concat(
            type.Methods.SelectMany(method => method.GenericParameters)
        );
        foreach (GenericParameterConstraint constraint in parameters.SelectMany(parameter => parameter.Constraints))
            yield return constraint.ConstraintType;
        foreach (TypeReference used in type.Methods.SelectMany(TypesUsedBy))
            yield return used;
        IEnumerable<ICustomAttributeProvider> attributed =
        [
            type,
            .. type.Fields,
            .. type.Methods,
            .. type.Properties,
            .. type.Methods.SelectMany(method => method.Parameters),
        ];
        foreach (CustomAttribute attribute in attributed.SelectMany(provider => provider.CustomAttributes))
        {
            yield return attribute.AttributeType;
            foreach (CustomAttributeArgument argument in attribute.ConstructorArguments)
                if (argument.Value is TypeReference typeArgument)
                    yield return typeArgument;
        }
    }

    private static IEnumerable<TypeReference> TypesUsedBy(MethodDefinition method)
    {
        yield return method.ReturnType;
        foreach (ParameterDefinition parameter in method.Parameters)
            yield return parameter.ParameterType;
        if (!method.HasBody)
            yield break;
        foreach (VariableDefinition variable in method.Body.Variables)
            yield return variable.VariableType;
        foreach (ExceptionHandler handler in method.Body.ExceptionHandlers)
            if (handler.CatchType is not null)
                yield return handler.CatchType;
        foreach (Instruction instruction in method.Body.Instructions)
        foreach (TypeReference used in TypesUsedBy(instruction.Operand))
            yield return used;
    }

    private static IEnumerable<TypeReference> TypesUsedBy(object? operand)
    {
        switch (operand)
        {
            case TypeReference type:
                return [type];
            case FieldReference field:
                return [field.DeclaringType, field.FieldType];
            case MethodReference method:
                IEnumerable<TypeReference> generic = method is GenericInstanceMethod instance
                    ? instance.GenericArguments
                    : [];
                return
                [
                    method.DeclaringType,
                    method.ReturnType,
                    .. method.Parameters.Select(parameter => parameter.ParameterType),
                    .. generic,
                ];
            default:
                return [];
        }
    }

    // List<Disk[]> is List, and Disk.
    private static IEnumerable<TypeReference> Parts(TypeReference type)
    {
        if (type is GenericParameter)
            return [];
        if (type is FunctionPointerType pointer)
            return pointer
                .Parameters.Select(parameter => parameter.ParameterType)
                .Append(pointer.ReturnType)
                .SelectMany(Parts);
        IEnumerable<TypeReference> arguments = type is GenericInstanceType generic
            ? generic.GenericArguments.SelectMany(Parts)
            : [];
        IEnumerable<TypeReference> modifiers = type is IModifierType modified ? Parts(modified.ModifierType) : [];
        TypeReference[] element = type is TypeSpecification specification
            ? [.. Parts(specification.ElementType)]
            : [type];
        return [.. element, .. arguments, .. modifiers];
    }
}
